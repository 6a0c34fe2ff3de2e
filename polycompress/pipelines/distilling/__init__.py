"""Distillation: students out of teachers, text and tasks to learn from, objectives by name."""
