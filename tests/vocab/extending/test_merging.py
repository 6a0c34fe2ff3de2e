from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from polycompress.vocab.extending.merging import Merge, merge_pairs

WORDS = st.lists(st.lists(st.integers(0, 3), max_size=8), min_size=1, max_size=12)


def joiner() -> tuple[dict[tuple[int, int], int], object]:
    made: dict[tuple[int, int], int] = {}

    def join(left: int, right: int) -> int | None:
        return made.setdefault((left, right), 100 + len(made))

    return made, join


def apply(words: list[list[int]], merges: list[Merge]) -> list[list[int]]:
    for merge in merges:
        done = []
        for word in words:
            new: list[int] = []
            place = 0
            while place < len(word):
                if word[place : place + 2] == [merge.left, merge.right]:
                    new.append(merge.made)
                    place += 2
                else:
                    new.append(word[place])
                    place += 1
            done.append(new)
        words = done
    return words


def test_the_pair_that_saves_most_comes_first() -> None:
    _, join = joiner()
    merges = merge_pairs([[1, 2, 3], [1, 2], [3, 1]], [5, 2, 4], most=2, join=join)
    assert merges == [Merge(1, 2, 100, 7), Merge(100, 3, 101, 5)]


def test_negative_symbols_join_nothing_and_refused_pairs_stay_apart() -> None:
    def join(left: int, right: int) -> int | None:
        return None if (left, right) == (1, 2) else 9

    assert merge_pairs([[1, -1, 2], [1, 2, 3]], [9, 1], most=5, join=join) == [
        Merge(2, 3, 9, 1),
        Merge(1, 9, 9, 1),
    ]


def test_least_stops_it_and_progress_adds_up() -> None:
    _, join = joiner()
    told: list[int] = []
    merges = merge_pairs([[1, 2], [3, 4]], [5, 1], most=9, least=2, join=join, progress=told.append)
    assert [merge.saves for merge in merges] == [5]
    assert sum(told) == 1


@given(words=WORDS, weights=st.data())
def test_each_merge_saves_what_it_says(words: list[list[int]], weights: st.DataObject) -> None:
    counts = weights.draw(st.lists(st.integers(0, 5), min_size=len(words), max_size=len(words)))
    _, join = joiner()
    merges = merge_pairs(words, counts, most=6, join=join)
    for number, merge in enumerate(merges):
        before = apply(words, merges[:number])
        after = apply(words, merges[: number + 1])
        saved = sum(
            count * (len(one) - len(two)) for count, one, two in zip(counts, before, after, strict=True)
        )
        assert saved == merge.saves > 0
        frequency: Counter[tuple[int, int]] = Counter()
        for count, word in zip(counts, before, strict=True):
            for pair in set(pairwise(word)):
                done = apply([word], [Merge(*pair, 999, 0)])[0]
                frequency[pair] += count * (len(word) - len(done))
        assert merge.saves == max(frequency.values())


@given(words=WORDS, order=st.randoms())
def test_the_order_of_words_does_not_matter(words: list[list[int]], order: object) -> None:
    shuffled = list(words)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    results = []
    for each in (words, shuffled):
        _, join = joiner()
        results.append(merge_pairs(each, [1] * len(each), most=6, join=join))
    assert results[0] == results[1]
