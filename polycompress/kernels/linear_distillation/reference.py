"""The loss as it is defined, with all logits at once and autograd: for any float dtype, float64 too."""

from __future__ import annotations

import torch
from torch import Tensor

from polycompress.kernels.linear_distillation.objective import Divergence, Objective


def linear_distillation_reference(
    student_hidden: Tensor,
    student_table: Tensor,
    teacher_hidden: Tensor,
    teacher_table: Tensor,
    labels: Tensor | None = None,
    *,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    temperature: float = 1.0,
    hard_weight: float = 0.0,
    ignore_index: int = -100,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
) -> Tensor:
    """The loss of ``linear_distillation``; arguments as there."""
    objective = Objective(divergence=divergence, beta=beta, temperature=temperature, hard_weight=hard_weight)
    student = torch.nn.functional.linear(student_hidden, student_table, student_bias)
    with torch.no_grad():
        teacher = torch.nn.functional.linear(teacher_hidden, teacher_table, teacher_bias)
    kept = torch.ones(len(student), dtype=torch.bool) if labels is None else labels != ignore_index
    if not bool(kept.any()):
        return student[:0].sum()
    student, teacher = student[kept], teacher[kept]
    log_q = torch.log_softmax(student / temperature, dim=1)
    log_p = torch.log_softmax(teacher / temperature, dim=1)
    loss = objective.soft_weight * _divergence(log_p, log_q, objective).mean()
    if labels is not None and hard_weight:
        loss = loss + hard_weight * torch.nn.functional.cross_entropy(student, labels[kept].long())
    return loss


def _divergence(log_p: Tensor, log_q: Tensor, objective: Objective) -> Tensor:
    if objective.divergence == "forward":
        return _kl(log_p, log_q)
    if objective.divergence == "reverse":
        return _kl(log_q, log_p)
    beta = objective.beta
    mixture = beta * log_p.exp() + (1.0 - beta) * log_q.exp()
    log_m = mixture.clamp(min=torch.finfo(mixture.dtype).tiny).log()
    return beta * _kl(log_p, log_m) + (1.0 - beta) * _kl(log_q, log_m)


def _kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    there = log_a > -torch.inf
    difference = torch.where(there, log_a, 0.0) - torch.where(there, log_b, 0.0)
    return (log_a.exp() * difference).sum(dim=1)
