from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import is_held_out
from polycompress.corpora.hashing import digests, sampled


def test_held_out_lines_never_change() -> None:
    chosen = [number for number in range(1000) if is_held_out(f"Zeile {number}", 0.01)]
    assert chosen == [69, 121, 150, 227, 279, 429, 513, 539, 612, 960]


@given(st.lists(st.text(), unique=True, min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_holds_out_the_same_and_more(texts: list[str], one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert all(is_held_out(text, large) for text in texts if is_held_out(text, small))
    assert not any(is_held_out(text, 0.0) for text in texts)
    assert all(is_held_out(text, 1.0) for text in texts)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_the_share_held_out_is_the_one_asked_for(share: float) -> None:
    count = sum(is_held_out(f"text {number}", share) for number in range(20_000))
    deviation = (20_000 * share * (1 - share)) ** 0.5
    assert abs(count - 20_000 * share) < 4 * deviation


@given(
    st.lists(st.text(), max_size=30),
    st.floats(0, 1, exclude_min=True),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, 2**64 - 1),
)
def test_a_larger_sample_holds_the_same_texts_and_more(
    texts: list[str], one: float, other: float, seed: int
) -> None:
    small, large = sorted((one, other))
    chosen = sampled(texts, small, seed)
    assert chosen == sampled(sampled(texts, large, seed), small, seed)
    assert sorted(chosen) == sorted(sampled(texts[::-1], small, seed))
    assert sampled(texts, 1.0, seed) == texts


def test_a_sample_never_changes_and_depends_on_the_seed() -> None:
    texts = [f"Zeile {number}" for number in range(1000)]
    first = sampled(texts, 0.01, 0)
    assert first == [
        f"Zeile {number}" for number in (216, 239, 374, 413, 608, 650, 678, 682, 724, 747, 824, 948)
    ]
    assert sampled(texts, 0.01, 1) != first


def test_the_sample_and_what_is_held_out_are_independent() -> None:
    texts = [f"text {number}" for number in range(20_000)]
    chosen = sampled(texts, 0.1, 0)
    both = sum(is_held_out(text, 0.1) for text in chosen)
    assert abs(len(chosen) - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(both - 200) < 4 * 200**0.5


def test_digests_tell_texts_apart() -> None:
    assert len(digests(["a", "b", "a", ""])) == 64
    assert len({digests([text]) for text in ["a", "b", "a", "", "\ud800", " "]}) == 5
