"""Distillation: objectives, layer maps, students made out of their teachers, sparse fine-tuning."""
