from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.objectives.minilm import value_relation_kl
from polycompress.distill.objectives.minilmv2 import MiniLMv2, relation_kl, split_relation_heads
from polycompress.distill.outputs import Needs, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import (
    check_all,
    convert,
    draw,
    draw_outputs,
    given_of,
    loss_with_itself,
    make,
    mask_of,
)
from tests.distill.objectives.test_attention import maps_of


def test_relation_heads_cut_the_joined_heads_in_order() -> None:
    joined = torch.arange(12.0).reshape(1, 1, 12)  # units 0 to 11 of one token
    heads = joined.unflatten(2, (2, 6)).transpose(1, 2)  # (1, 2, 1, 6)
    found = split_relation_heads(heads, 3)
    assert found.shape == (1, 3, 1, 4)
    assert found[0, :, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    torch.testing.assert_close(split_relation_heads(found, 2), heads)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any),
    st.sampled_from([1, 2, 3, 6]),
    st.tuples(*[st.floats(0.0, 2.0)] * 3).filter(any),
)
def test_the_loss_is_that_of_the_formula(
    lengths: list[int], relation_heads: int, alphas: tuple[float, float, float]
) -> None:
    student = draw_outputs(lengths, seed=1, heads=2, head_size=3)
    teacher = draw_outputs(lengths, seed=2, heads=3, head_size=4)
    wanted = 0.0
    for role, alpha in zip(("queries", "keys", "values"), alphas, strict=True):
        maps = []
        for said, layer in ((student, 1), (teacher, 2)):
            heads = getattr(said, role)[layer].detach()
            width = heads.shape[1] * heads.shape[3]
            joined = torch.stack([torch.cat([*text], dim=-1) for text in heads])  # (B, n, width)
            own = torch.stack(joined.split(width // relation_heads, dim=-1), dim=1)
            maps.append(maps_of(own, own, lengths))
        rows = [(t * np.log(t / s)).sum(1) for s, t in zip(*maps, strict=True)]
        wanted += alpha * float(np.concatenate(rows).mean())
    objective = MiniLMv2(1, 2, relation_heads, alphas)
    assert objective(student, teacher, given_of(lengths)).item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_with_the_models_own_heads_values_are_those_of_minilm() -> None:
    values = [draw(3, 2, 4, size, seed=size) for size in (3, 5)]
    mask = mask_of((4, 2, 1))
    torch.testing.assert_close(relation_kl(*values, mask, 2), value_relation_kl(*values, mask))


@given(st.integers(0, 99))
def test_a_rotation_within_relation_heads_changes_nothing(seed: int) -> None:
    turns = torch.linalg.qr(draw(4, 3, 3, seed=seed))[0]  # of four relation heads of three units
    heads = draw(3, 2, 4, 6, seed=seed + 100)
    turned = split_relation_heads(split_relation_heads(heads, 4) @ turns, 2)
    teacher, mask = draw(3, 2, 4, 6, seed=seed + 200), mask_of((4, 2, 1))
    plain = relation_kl(heads, teacher, mask, 4)
    torch.testing.assert_close(relation_kl(turned, teacher, mask, 4), plain)
    torch.testing.assert_close(relation_kl(teacher, turned, mask, 4), relation_kl(teacher, heads, mask, 4))
    assert not torch.isclose(relation_kl(turned, teacher, mask, 6), relation_kl(heads, teacher, mask, 6))


def test_what_every_objective_keeps_to() -> None:
    check_all(MiniLMv2(0, 2, 3))
    assert loss_with_itself(MiniLMv2(1, 1, 3)) == 0.0


def test_gradients_are_those_of_the_formula() -> None:
    teacher, mask = draw(2, 3, 3, 4, seed=2), mask_of((3, 2))
    heads = draw(2, 2, 3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relation_kl(x, teacher, mask, 3), (heads,))


def test_the_teacher_gets_no_gradient() -> None:
    teacher = draw(2, 3, 3, 4, seed=2).requires_grad_()
    relation_kl(draw(2, 2, 3, 3, seed=1).requires_grad_(), teacher, mask_of((3, 2)), 3).backward()
    assert teacher.grad is None


def test_what_has_no_weight_is_not_asked_for() -> None:
    objective = MiniLMv2(0, 2, 3, (0.0, 2.0, 0.5))
    assert objective.student_needs == Needs(keys=frozenset((0,)), values=frozenset((0,)))
    assert objective.teacher_needs == Needs(keys=frozenset((2,)), values=frozenset((2,)))
    example = make()
    bare = Outputs(keys=example.student.keys, values=example.student.values)
    parts = [
        relation_kl(getattr(bare, role)[0], getattr(example.teacher, role)[2], example.given.mask, 3)
        for role in ("keys", "values")
    ]
    torch.testing.assert_close(
        objective(bare, example.teacher, example.given), 2.0 * parts[0] + 0.5 * parts[1]
    )


def test_fewer_heads_of_keys_and_values_are_taken_as_they_are() -> None:
    student = draw_outputs(seed=1, heads=2, head_size=3)
    teacher = draw_outputs(seed=2, heads=4, key_heads=2, head_size=6)
    assert MiniLMv2(0, 0, 6)(student, teacher, given_of()).item() > 0
    same = convert(teacher, lambda tensor, _: tensor)
    assert MiniLMv2(0, 0, 6)(same, teacher, given_of()).item() == 0.0


def test_relation_heads_that_do_not_divide_are_refused_with_what_would() -> None:
    student, teacher = draw_outputs(seed=1, heads=2, head_size=3), draw_outputs(seed=2, heads=3, head_size=6)
    message = (
        "minilmv2: 4 relation heads do not divide all widths: the student's queries are 6 wide; the teacher's queries "
        "are 18 wide; the student's values are 6 wide; the teacher's values are 18 wide. These do: 1, 2, 3, 6."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        MiniLMv2(0, 0, 4, (1.0, 0.0, 1.0))(student, teacher, given_of())


def test_all_wrong_values_are_named() -> None:
    message = (
        "minilmv2: relation_heads=0 has to be at least 1; alphas=(1.0, -1.0, 0.0) has to be three numbers from 0, for "
        "queries, keys, values, not all 0."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        MiniLMv2(0, 0, 0, (1.0, -1.0, 0.0))
    for alphas in ((1.0, 1.0), (0.0, 0.0, 0.0), (float("nan"), 1.0, 1.0)):
        with pytest.raises(InputError, match="three numbers"):
            MiniLMv2(0, 0, 1, alphas)
