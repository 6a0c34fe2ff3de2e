"""Made-up outputs of a student and a teacher, and what every objective has to keep to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from polycompress.distill.objective import Objective
from polycompress.distill.outputs import Given, Outputs

LENGTHS = (4, 2, 1)
CLASSES = 5
LAYERS = 3
Scores = Literal["text", "tokens", "ends"]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One batch as an objective sees it."""

    student: Outputs
    teacher: Outputs
    given: Given

    def loss(self, objective: Objective) -> Tensor:
        return objective(self.student, self.teacher, self.given)


def mask_of(lengths: Sequence[int]) -> Tensor:
    return torch.arange(max(1, *lengths))[None, :] < torch.tensor(lengths)[:, None]


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def draw_outputs(
    lengths: Sequence[int] = LENGTHS,
    *,
    seed: int,
    heads: int = 2,
    key_heads: int | None = None,
    head_size: int = 3,
    scores: Scores = "tokens",
) -> Outputs:
    """Hidden states, queries, keys, values of three layers, and logits; leaves that want gradients."""
    batch, width = len(lengths), max(lengths)
    few = key_heads or heads
    shapes = {"text": (batch, CLASSES), "tokens": (batch, width, CLASSES), "ends": (batch, 2, width)}
    logits = draw(*shapes[scores], seed=seed, scale=2.0)
    if scores == "ends":
        logits = logits.masked_fill(~mask_of(lengths)[:, None], -torch.inf)

    def layers(number: int, *shape: int) -> dict[int, Tensor]:
        return {
            layer: draw(*shape, seed=1000 * seed + 10 * layer + number).requires_grad_()
            for layer in range(LAYERS + (number == 0))
        }

    return Outputs(
        hidden=layers(0, batch, width, heads * head_size),
        queries=layers(1, batch, heads, width, head_size),
        keys=layers(2, batch, few, width, head_size),
        values=layers(3, batch, few, width, head_size),
        logits=logits.requires_grad_(),
    )


def given_of(lengths: Sequence[int] = LENGTHS, scores: Scores = "tokens") -> Given:
    mask = mask_of(lengths)
    if scores == "tokens":
        labels = torch.arange(mask.numel()).reshape(mask.shape) % CLASSES
        return Given(mask=mask, valid=mask, labels=labels.masked_fill(~mask, -100))
    labels = torch.zeros((len(lengths), 2) if scores == "ends" else len(lengths), dtype=torch.long)
    return Given(mask=mask, labels=labels)


def make(scores: Scores = "tokens", lengths: Sequence[int] = LENGTHS) -> Example:
    return Example(
        draw_outputs(lengths, seed=1, scores=scores),
        draw_outputs(lengths, seed=2, scores=scores),
        given_of(lengths, scores),
    )


def convert(outputs: Outputs, change: Callable[[Tensor, str], Tensor]) -> Outputs:
    """The same with every tensor changed; new leaves that want gradients."""

    def leaf(tensor: Tensor, name: str) -> Tensor:
        return change(tensor.detach(), name).clone().requires_grad_()

    changed = {
        name: {layer: leaf(tensor, name) for layer, tensor in getattr(outputs, name).items()}
        for name in ("hidden", "queries", "keys", "values")
    }
    return Outputs(**changed, logits=None if outputs.logits is None else leaf(outputs.logits, "logits"))


def leaves(outputs: Outputs) -> list[Tensor]:
    found = [
        tensor
        for name in ("hidden", "queries", "keys", "values")
        for tensor in getattr(outputs, name).values()
    ]
    return found if outputs.logits is None else [*found, outputs.logits]


def padded(example: Example, extra: int, scores: Scores) -> Example:
    """The same batch with more padding, where the models say nothing that is a number."""

    def lengthen(tensor: Tensor, name: str) -> Tensor:
        if name == "logits" and scores == "text":
            return tensor
        if name == "logits" and scores == "ends":
            return functional.pad(tensor, (0, extra), value=-torch.inf)
        return functional.pad(tensor, (0, 0, 0, extra), value=torch.nan)

    given = example.given
    mask = functional.pad(given.mask, (0, extra), value=False)
    valid, labels = given.valid, given.labels
    if scores == "tokens":
        valid = mask
        labels = functional.pad(labels, (0, extra), value=-100) if labels is not None else None
    return Example(
        convert(example.student, lengthen),
        convert(example.teacher, lengthen),
        dataclasses.replace(given, mask=mask, valid=valid, labels=labels),
    )


def gradients(loss: Tensor, outputs: Outputs) -> list[Tensor]:
    """By every leaf; zeros where a leaf takes no part."""
    found = leaves(outputs)
    grads = torch.autograd.grad(loss, found, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(found, grads, strict=True)]


def check_padding(objective: Objective, scores: Scores = "tokens") -> None:
    """More padding changes neither the loss nor a gradient, and gets none."""
    short = make(scores)
    long = padded(short, 3, scores)
    losses = short.loss(objective), long.loss(objective)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=1e-14)
    grads = gradients(losses[0], short.student), gradients(losses[1], long.student)
    assert any(grad.any() for grad in grads[0])
    for grad, longer in zip(*grads, strict=True):
        wanted = torch.zeros_like(longer)
        wanted[tuple(slice(size) for size in grad.shape)] = grad
        torch.testing.assert_close(longer, wanted, rtol=1e-10, atol=1e-14)


def check_teacher(objective: Objective, scores: Scores = "tokens") -> None:
    """No gradient goes to the teacher, and the student's is there."""
    example = make(scores)
    example.loss(objective).backward()
    assert all(leaf.grad is None for leaf in leaves(example.teacher))
    assert any(leaf.grad is not None and leaf.grad.any() for leaf in leaves(example.student))


def check_precision(objective: Objective, scores: Scores = "tokens") -> None:
    """Of bf16 the loss is in fp32 and near, under autocast too; of float64 it is float64."""
    exact = make(scores)
    wanted = exact.loss(objective)
    assert wanted.dtype == torch.float64
    assert wanted.shape == ()
    rounded = [convert(said, lambda tensor, _: tensor.bfloat16()) for said in (exact.student, exact.teacher)]
    same = [convert(said, lambda tensor, _: tensor.double()) for said in rounded]
    right = objective(*same, exact.given)
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            found = objective(*rounded, exact.given)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-6)


def check_empty(objective: Objective, scores: Scores = "tokens") -> None:
    """Where nothing counts the loss is 0, with gradients that are 0."""
    example = make(scores)
    given = example.given
    logits = example.student.logits
    assert logits is not None
    nothing = Given(
        mask=torch.zeros_like(given.mask),
        valid=torch.zeros(logits.shape[:-1], dtype=torch.bool),
        labels=None if given.labels is None else torch.full_like(given.labels, -100),
    )
    loss = objective(example.student, example.teacher, nothing)
    assert loss.item() == 0.0
    assert loss.requires_grad
    assert not any(grad.any() for grad in gradients(loss, example.student))


def check_all(objective: Objective, scores: Scores = "tokens") -> None:
    check_padding(objective, scores)
    check_teacher(objective, scores)
    check_precision(objective, scores)
    check_empty(objective, scores)


def loss_with_itself(objective: Objective, scores: Scores = "tokens") -> float:
    """The loss of a student that says what the teacher says, in fp32."""
    teacher = convert(make(scores).teacher, lambda tensor, _: tensor.float())
    loss = objective(convert(teacher, lambda tensor, _: tensor), teacher, given_of(scores=scores))
    return loss.item()
