"""The replay counts what a plain recount counts; the linear program finds shares that are known."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.merge_replay import PairHistory, replay, word_ids
from polycompress.vocab.mixture import (
    bootstrap_shares,
    merge_ratios,
    merges_by_language,
    segment_counts,
    solve_shares,
)
from polycompress.vocab.mixture_program import MixtureProgram, _range_argmin, largest_alive
from polycompress.vocab.mixture_trust import Signs, judge
from polycompress.vocab.organic_merges import organic_merges

pytest.importorskip("scipy")

Model = dict[str, Any]


def model_of(alphabet: str, merges: list[tuple[str, str]], **more: Any) -> Model:
    """A BPE model whose merges are in order."""
    names = [*dict.fromkeys([*alphabet, *(left + right for left, right in merges)])]
    vocab = {name: number for number, name in enumerate(names)}
    return {"type": "BPE", "vocab": vocab, "merges": [list(merge) for merge in merges], **more}


def join(word: list[str], pair: tuple[str, str]) -> list[str]:
    """One merge in one word, leftmost first."""
    made: list[str] = []
    for symbol in word:
        if made and (made[-1], symbol) == pair:
            made[-1] = pair[0] + pair[1]
        else:
            made.append(symbol)
    return made


def train(words: dict[str, float], count: int) -> list[tuple[str, str]]:
    """BPE as in the textbook: the most frequent pair is merged, again and again."""
    spelt = {word: list(word) for word in words}
    merges: list[tuple[str, str]] = []
    for _ in range(count):
        totals = pair_counts(spelt, words)
        if not totals:
            break
        best = max(totals, key=lambda pair: (totals[pair], pair))
        merges.append(best)
        spelt = {word: join(symbols, best) for word, symbols in spelt.items()}
    return merges


def pair_counts(spelt: dict[str, list[str]], weights: dict[str, float]) -> Counter[tuple[str, str]]:
    """Weighted neighbours."""
    totals: Counter[tuple[str, str]] = Counter()
    for word, symbols in spelt.items():
        for pair in pairwise(symbols):
            totals[pair] += weights[word]  # type: ignore[assignment]
    return totals


def replayed(model: Model, words: list[str], limit: int = 1000, *, byte_level: bool = False) -> PairHistory:
    """The history of a model's merges over some words."""
    merges = organic_merges(model, limit, byte_level=byte_level)
    return replay(*word_ids(words, model), merges)


WORDS = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=12, unique=True)


@given(words=WORDS, others=WORDS, count=st.integers(1, 8))
def test_replay_counts_as_a_recount_does(words: list[str], others: list[str], count: int) -> None:
    merges = train(dict.fromkeys(words, 1.0), count)
    # A token made in two ways one after the other looks like a converter's list.
    assume(merges and len({left + right for left, right in merges}) == len(merges))
    model = model_of("abc", merges)
    history = replayed(model, others)
    weights = np.arange(1.0, len(others) + 1)[:, np.newaxis]
    counts = segment_counts(history, weights)[:, 0]
    spelt = {word: list(word) for word in others}
    by_word = {word: float(place + 1) for place, word in enumerate(others)}
    for time, merge in enumerate(merges):
        expected = pair_counts(spelt, by_word)
        holds = (history.begin <= time) & (time < history.end)
        assert sorted(counts[holds & (counts != 0)].tolist()) == sorted(expected.values())
        segment = history.merge_segment[time]
        assert (counts[segment] if segment >= 0 else 0) == expected.get(merge, 0)
        spelt = {word: join(symbols, merge) for word, symbols in spelt.items()}


@given(words=WORDS, count=st.integers(1, 6))
def test_a_pairs_segments_cover_time_once(words: list[str], count: int) -> None:
    merges = train(dict.fromkeys(words, 1.0), count)
    # A token made in two ways one after the other looks like a converter's list.
    assume(merges and len({left + right for left, right in merges}) == len(merges))
    history = replayed(model_of("abc", merges), words)
    for pair in range(int(history.pair.max()) + 1):
        mine = history.pair == pair
        assert history.end[mine][-1] == len(merges)
        assert (history.end[mine][:-1] == history.begin[mine][1:]).all()


def test_unknown_characters_and_word_ends_part_symbols() -> None:
    model = model_of("ab", [("a", "b")])
    symbols, owner = word_ids(["a?b", "ab", "b"], model)
    assert symbols.tolist() == [0, -1, 1, 0, 1, 1]
    assert owner.tolist() == [0, 0, 0, 1, 1, 2]
    history = replayed(model, ["a?b", "ab", "b"])
    assert segment_counts(history, np.ones((3, 1))).tolist() == [[1.0], [0.0]]


def test_words_are_spelt_with_their_marks() -> None:
    model = model_of("ab", [("a", "b")], end_of_word_suffix="</w>")
    model["vocab"]["b</w>"] = 9
    assert word_ids(["ab"], model)[0].tolist() == [0, 9]


def test_of_a_converters_splits_the_own_one_is_kept() -> None:
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")]
    organic = organic_merges(model_of("abc", merges), 10, byte_level=False)
    assert list(zip(organic.left.tolist(), organic.right.tolist(), strict=True)) == [(1, 2), (0, 1), (0, 3)]
    assert organic.redundant.tolist() == [[4, 2]]
    assert organic.listed == 4


def test_the_same_token_made_twice_apart_is_what_training_did() -> None:
    merges = [("b", "c"), ("a", "bc"), ("a", "b"), ("ab", "c")]
    organic = organic_merges(model_of("abc", merges), 10, byte_level=False)
    assert len(organic.left) == 4
    assert len(organic.redundant) == 0


def test_pairs_of_redundant_merges_do_not_compete() -> None:
    merges = [("b", "c"), ("a", "b"), ("a", "bc"), ("ab", "c")]
    history = replayed(model_of("abc", merges), ["ab", "abc"])
    assert int(history.pair.max()) + 1 == 3  # (a, b), (b, c) and (a, bc), not (ab, c)


@pytest.mark.parametrize(
    ("byte_level", "merge", "blank"),
    [
        (False, ("▁", "▁"), True),
        (False, ("▁", "a"), False),
        (True, ("Ġ", "Ġ"), True),
        (True, ("Ċ", "a"), False),
    ],
)
def test_merges_of_white_space_are_told(byte_level: bool, merge: tuple[str, str], blank: bool) -> None:
    organic = organic_merges(model_of("▁ĠĊa", [merge]), 10, byte_level=byte_level)
    assert organic.blank.tolist() == [blank]


def test_kinds_of_pairs_that_no_merge_makes_do_not_compete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polycompress.vocab.organic_merges.TELLING_MERGES", 1)
    model = model_of("abя.1да", [("a", "b"), (".", ".")])
    history = replayed(model, ["ab", "b.", "aя", "дa", "11", ".."])
    known = int(history.pair.max()) + 1
    assert known == 2  # not a letter and a full stop, two scripts, or two digits
    assert int(replayed(model, ["да"]).pair.max()) + 1 == 1  # but two letters of a script that no merge has


@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    ranges=st.lists(st.tuples(st.integers(0, 39), st.integers(1, 40)), max_size=20),
)
def test_range_minimum(values: list[int], ranges: list[tuple[int, int]]) -> None:
    chosen = [(begin, min(begin + size, len(values))) for begin, size in ranges if begin < len(values)]
    begin, end = (np.array([pair[side] for pair in chosen], dtype=np.int64) for side in (0, 1))
    found = _range_argmin(np.array(values, dtype=float), begin, end)
    for place, (low, high) in zip(found.tolist(), chosen, strict=True):
        assert low <= place < high
        assert values[place] == min(values[low:high])


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 20), st.integers(1, 9)), max_size=20))
def test_largest_alive(spans: list[tuple[int, int, int]]) -> None:
    begin, end, value = (np.array([span[side] for span in spans], dtype=np.int64) for side in range(3))
    history = PairHistory(
        pair=np.arange(len(spans)),
        begin=begin,
        end=np.minimum(begin + end, 20),
        merge_segment=np.full(20, -1),
        entry_start=np.arange(len(spans) + 1),
        entry_word=np.zeros(len(spans), dtype=np.int32),
        entry_change=np.ones(len(spans), dtype=np.int8),
        words=1,
    )
    found = largest_alive(history, value.astype(float))
    for time in range(20):
        holds = [v for b, e, v in zip(begin, history.end, value, strict=True) if b <= time < e]
        assert found[time] == max(holds, default=0)


def languages(seed: int) -> tuple[list[str], np.ndarray]:
    """Words of two invented languages that share letters, and how often each has them, per byte."""
    generator = np.random.default_rng(seed)
    words: list[str] = []
    weights = np.zeros((800, 2))
    for language, likely in enumerate(([8, 7, 6, 5, 1, 1, 1, 1], [1, 1, 4, 4, 8, 7, 6, 5])):
        chances = np.array(likely) / sum(likely)
        for place in range(400):
            size = int(generator.integers(2, 9))
            words.append("".join(generator.choice(list("abcdefgh"), size, p=chances)))
            weights[language * 400 + place, language] = 1 / (place + 1)
    sizes = np.array([len(word) for word in words])
    return words, weights / (sizes @ weights)


def mixed_history(truth: float) -> tuple[PairHistory, np.ndarray, np.ndarray]:
    """Merges trained on a mixture, replayed over the same words."""
    words, weights = languages(3)
    amounts: Counter[str] = Counter()
    for word, (first, second) in zip(words, weights, strict=True):
        amounts[word] += truth * first + (1 - truth) * second
    model = model_of("abcdefgh", train(dict(amounts), 150))
    history = replayed(model, words)
    return history, segment_counts(history, weights), weights


@pytest.mark.parametrize("truth", [0.1, 0.5, 0.75])
def test_shares_of_the_same_words_come_back(truth: float) -> None:
    history, counts, _ = mixed_history(truth)
    used = np.ones(len(history.merge_segment))
    solution = solve_shares(history, counts, used)
    assert solution.shares == pytest.approx([truth, 1 - truth], abs=0.01)
    assert solution.violation < 1e-6
    assert solution.shares.sum() == pytest.approx(1)
    assert merge_ratios(history, counts, solution).min() > 0.99


def test_violation_tells_that_a_candidate_is_missing() -> None:
    history, counts, _ = mixed_history(0.5)
    used = np.ones(len(history.merge_segment))
    alone = solve_shares(history, counts[:, :1], used)
    assert alone.shares.tolist() == [1.0]
    assert alone.violation > 0.05
    assert np.mean(merge_ratios(history, counts[:, :1], alone) < 0.1) > 0.05


def test_merges_are_given_to_the_language_that_has_them() -> None:
    history, counts, _ = mixed_history(0.5)
    own = merges_by_language(history, counts, np.array([0.5, 0.5]))
    assert own.sum() >= len(history.merge_segment)  # a tie counts for both
    assert own.min() > 30
    assert merges_by_language(history, counts, np.array([1.0, 0.0]))[1] == 0


def test_bootstrap_scatters_about_the_estimate_and_repeats() -> None:
    from scipy.sparse import csr_matrix

    history, counts, weights = mixed_history(0.75)
    used = np.ones(len(history.merge_segment))
    solution = solve_shares(history, counts, used)
    blocks = np.zeros((len(weights), 8))
    for place in range(len(weights)):
        for language in range(2):
            blocks[place, language * 4 + place % 4] = 100 * weights[place, language]
    sizes = np.full((2, 4), 25.0)

    def drawn(seed: int) -> np.ndarray:
        return bootstrap_shares(history, csr_matrix(blocks), sizes, used, solution, samples=6, seed=seed)

    first = drawn(1)
    assert first.shape == (6, 2)
    assert first.sum(axis=1) == pytest.approx(np.ones(6))
    assert 0 < first[:, 0].std() < 0.2
    assert abs(first[:, 0].mean() - 0.75) < 0.2
    assert (first == drawn(1)).all()
    assert (first != drawn(2)).any()


def test_a_language_without_any_merge_has_no_share() -> None:
    history, counts, _ = mixed_history(0.5)
    counts = np.hstack((counts, np.zeros((len(counts), 1))))
    solution = solve_shares(history, counts, np.ones(len(history.merge_segment)))
    assert solution.shares[2] == 0
    assert solution.shares[0] == pytest.approx(0.5, abs=0.01)


def test_merges_that_never_occur_are_refused() -> None:
    history, counts, _ = mixed_history(0.5)
    with pytest.raises(
        InputError, match="none of the tokenizer's merges occurs in the text of any candidate"
    ):
        MixtureProgram(history, np.zeros_like(counts), np.ones(len(history.merge_segment)))


GOOD = Signs(
    widest=0.01,
    unexplained=0.001,
    violation=0.03,
    absent=0.001,
    merges=3000,
    own_merges={"German": 900},
    text_bytes={"German": 1_000_000},
    rough=(),
    trimmed=False,
)


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({}, "good", "resampling moves no share by more than 1.0 points"),
        ({"unexplained": 0.2}, "poor", "20.0 % of the merges hardly occur in any candidate's text"),
        ({"violation": 0.2}, "poor", "violated by 20.0 % of their occurrences"),
        ({"trimmed": True}, "poor", "this vocabulary was trimmed"),
        ({"unexplained": 0.03}, "fair", "3.0 % of the merges hardly occur"),
        ({"widest": 0.06}, "fair", "moves a share by up to 6.0 points"),
        ({"rough": ("German",), "unexplained": 0.5}, "fair", "word frequencies stand for German"),
        ({"rough": ("German",), "absent": 0.09}, "fair", "word frequencies stand for German"),
        (
            {"rough": ("German",), "absent": 0.4},
            "poor",
            "40.0 % of the merges never occur in the words that stand",
        ),
        ({"text_bytes": {"German": 5000}}, "fair", "less than 200 kB of text for German"),
        ({"own_merges": {"German": 3}}, "fair", "hardly any merge is mostly the own of German"),
        ({"merges": 60}, "fair", "only 60 merges could be used"),
    ],
)
def test_trust_says_why(change: dict[str, Any], level: str, words: str) -> None:
    signs = {name: getattr(GOOD, name) for name in GOOD.__slots__} | change
    found = judge(Signs(**signs))
    assert found.level == level
    assert words in found.text
