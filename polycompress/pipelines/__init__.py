"""Pipelines: load, pure functions, save."""
