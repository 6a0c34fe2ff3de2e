from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from polycompress.distill.objectives.minilm import MiniLM, value_relation_kl
from polycompress.distill.outputs import Needs, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import (
    check_all,
    draw,
    draw_outputs,
    given_of,
    loss_with_itself,
    make,
    mask_of,
)
from tests.distill.objectives.test_attention import maps_of

LENGTHS = [4, 2, 1]


def test_the_sum_of_attention_and_value_relations() -> None:
    example = make()
    wanted = 0.0
    for one, two in (("queries", "keys"), ("values", "values")):
        student, teacher = (
            maps_of(getattr(said, one)[layer], getattr(said, two)[layer], LENGTHS)
            for said, layer in ((example.student, 0), (example.teacher, 2))
        )
        rows = [(t * np.log(t / s)).sum(1) for s, t in zip(student, teacher, strict=True)]
        wanted += float(np.concatenate(rows).mean())
    assert example.loss(MiniLM(0, 2)).item() == pytest.approx(wanted, rel=1e-9)


def test_a_value_relation_by_hand() -> None:
    # One head of one unit: relations of the values 1 and 0 are softmax(1, 0) and softmax(0, 0).
    student, teacher = torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[0.0], [0.0]]]])
    high, low = np.exp(1) / (1 + np.exp(1)), 1 / (1 + np.exp(1))
    wanted = (0.5 * np.log(0.5 / high) + 0.5 * np.log(0.5 / low) + 0.0) / 2
    found = value_relation_kl(student, teacher, torch.tensor([[True, True]]))
    assert found.item() == pytest.approx(wanted)


def test_what_every_objective_keeps_to() -> None:
    objective = MiniLM(1, 2)
    check_all(objective)
    assert loss_with_itself(MiniLM(2, 2)) == 0.0
    one, two = frozenset((1,)), frozenset((2,))
    assert objective.student_needs == Needs(queries=one, keys=one, values=one)
    assert objective.teacher_needs == Needs(queries=two, keys=two, values=two)


def test_gradients_are_those_of_the_formula() -> None:
    teacher, mask = draw(2, 2, 3, 4, seed=2), mask_of((3, 2))
    values = draw(2, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: value_relation_kl(x, teacher, mask), (values,))


def test_the_teacher_gets_no_gradient() -> None:
    teacher = draw(2, 2, 3, 4, seed=2).requires_grad_()
    value_relation_kl(draw(2, 2, 3, 3, seed=1).requires_grad_(), teacher, mask_of((3, 2))).backward()
    assert teacher.grad is None


def test_widths_may_differ_and_heads_may_not() -> None:
    student = draw_outputs(seed=1, heads=2, head_size=2)
    wider = draw_outputs(seed=2, heads=2, head_size=5)
    assert MiniLM(0, 0)(student, wider, given_of()).item() > 0
    for unfit in (
        draw_outputs(seed=2, heads=4),
        Outputs(queries=wider.queries, keys=wider.keys, values={0: draw(3, 1, 4, 5)}),
    ):
        with pytest.raises(InputError, match=r"use relation losses \(minilmv2\)"):
            MiniLM(0, 0)(student, unfit, given_of())


def test_shared_keys_and_values_are_matched_with_shared_ones() -> None:
    both = [draw_outputs(seed=seed, heads=4, key_heads=2) for seed in (1, 2)]
    assert MiniLM(0, 0)(*both, given_of()).item() > 0
    assert MiniLM(0, 0)(both[0], both[0], given_of()).item() == 0.0


def test_layers_below_zero_are_refused() -> None:
    with pytest.raises(InputError, match=re.escape("minilm: the pair (-1, 0) has a number below 0")):
        MiniLM(-1, 0)
