"""What a student keeps of its teacher's scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.metrics.intervals import first_mean
from polycompress.evaluation.metrics.kept import PairedPart, score_kept


def part(student: float, teacher: float, chance: float = 0.0, n: int = 200) -> PairedPart:
    """Hits in so many of n examples; the student's are among the teacher's as far as they go."""

    def hits(share: float) -> np.ndarray:
        return (np.arange(n) < round(share * n)).astype(float)[:, None]

    return PairedPart(student=hits(student), teacher=hits(teacher), statistic=first_mean, chance=chance)


def test_by_hand() -> None:
    found = score_kept([part(0.6, 0.8, 0.5), part(0.4, 0.5)], seed=0)
    assert found.share == pytest.approx((0.1 + 0.4) / (0.3 + 0.5))
    assert found.low < found.share < found.high


@given(st.floats(0.1, 1.0), st.integers(1, 4))
def test_a_student_that_is_its_teacher_keeps_all_of_it(score: float, parts: int) -> None:
    same = [part(score, score) for _ in range(parts)]
    found = score_kept(same, resamples=50, seed=1)
    assert (found.share, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(0)
    teacher = (generator.random((300, 1)) < 0.7).astype(float)
    near = teacher.copy()
    near[:10] = 1 - near[:10]
    far = (generator.random((300, 1)) < 0.7).astype(float)
    spans = []
    for student in (near, far):
        found = score_kept([PairedPart(student=student, teacher=teacher, statistic=first_mean)], seed=0)
        spans.append(found.high - found.low)
    assert spans[0] < spans[1] / 2


def test_more_parts_narrow_the_interval_too() -> None:
    one = score_kept([part(0.5, 0.8)], seed=0)
    many = score_kept([part(0.5, 0.8)] * 9, seed=0)
    assert many.high - many.low < 0.6 * (one.high - one.low)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        score_kept([], seed=0)
    with pytest.raises(ValueError, match="same examples"):
        score_kept(
            [PairedPart(student=np.ones((3, 1)), teacher=np.ones((4, 1)), statistic=first_mean)], seed=0
        )
    with pytest.raises(ValueError, match="not above chance"):
        score_kept([part(0.5, 0.3, chance=0.4)], seed=0)
