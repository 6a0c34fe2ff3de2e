from __future__ import annotations

import re

import pytest
import torch

from polycompress.distill.objectives.inputs import check_pairs, counted, paired_logits, wide
from polycompress.distill.outputs import Outputs
from polycompress.errors import InputError


def test_pairs_become_a_tuple() -> None:
    assert check_pairs("x", [(0, 1), (1, 3)]) == ((0, 1), (1, 3))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "hidden-mse: no pair of layers is given; name at least one as (student, teacher)."),
        ([(0, -1)], "hidden-mse: the pair (0, -1) has a number below 0; layers count from 0."),
        (
            [(-1, 0), (-1, 0)],
            "hidden-mse: a pair of layers is named twice; name each once; the pair (-1, 0) has a number below 0; "
            "layers count from 0.",
        ),
    ],
)
def test_pairs_that_are_wrong(pairs: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_pairs("hidden-mse", pairs)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_nothing_is_narrower_than_fp32(found: torch.dtype, wanted: torch.dtype) -> None:
    assert wide(torch.ones(2, dtype=found)).dtype == wanted


def test_logits_that_are_missing_or_differ() -> None:
    with_logits, without = Outputs(logits=torch.zeros(2, 3)), Outputs()
    with pytest.raises(InputError, match=r"dkd: the student gives no logits; give it a head"):
        paired_logits("dkd", without, with_logits)
    with pytest.raises(InputError, match=r"dkd: the teacher gives no logits"):
        paired_logits("dkd", with_logits, without)
    with pytest.raises(InputError, match=r"student's logits have the shape \(2, 3\), the teacher's \(2, 4\)"):
        paired_logits("dkd", with_logits, Outputs(logits=torch.zeros(2, 4)))


def test_positions_without_a_class_do_not_count_and_broken_ones_do() -> None:
    out = -torch.inf
    student = torch.tensor([[0.0, out], [out, out], [0.0, 0.0], [torch.nan, torch.nan], [0.0, 0.0]])
    teacher = torch.tensor([[0.0, out], [0.0, 0.0], [out, out], [0.0, 0.0], [0.0, 0.0]])
    assert counted(student, teacher, None).tolist() == [True, False, False, True, True]
    valid = torch.tensor([True, True, True, True, False])
    assert counted(student, teacher, valid).tolist() == [True, False, False, True, False]
