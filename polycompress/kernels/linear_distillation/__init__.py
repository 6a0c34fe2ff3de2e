"""Distillation between two output heads, from hidden states and tables, without a [tokens, V] matrix of logits."""

from polycompress.kernels.linear_distillation.objective import Divergence, Objective
from polycompress.kernels.linear_distillation.op import linear_distillation
from polycompress.kernels.linear_distillation.reference import linear_distillation_reference

__all__ = ["Divergence", "linear_distillation", "linear_distillation_reference", "Objective"]
