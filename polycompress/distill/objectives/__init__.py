"""Objectives of distillation, one file each: pure functions of tensors, and the module that training calls."""
