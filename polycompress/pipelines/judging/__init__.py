"""What judging a model on tasks is made of."""
