"""Recipes: commands one after another, each fed by those before it."""
