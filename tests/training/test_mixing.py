from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.training.hashing import below, hashed, shuffled, uniform
from polycompress.training.mixing import Draw, LanguageMixer, Stage
from polycompress.training.shares import (
    Mixing,
    proportional_shares,
    shares_of,
    temperature_shares,
    unimax_shares,
)

sizes_of_languages = st.lists(st.integers(1, 10**9), min_size=1, max_size=8).map(
    lambda sizes: np.array(sizes, dtype=np.float64)
)


@dataclass
class Sizes:
    """Lengths in memory instead of examples on disk."""

    by_language: dict[str, list[int]]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.by_language)

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(len(lengths) for lengths in self.by_language.values())

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(sum(lengths) for lengths in self.by_language.values())

    def lengths(self, language: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array(list(self.by_language.values())[language], dtype=np.int64)[indices]


corpora = st.dictionaries(
    st.sampled_from(["deu-Latn", "swh-Latn", "hin-Deva", "tur-Latn"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    min_size=1,
).map(Sizes)


def take(mixer: LanguageMixer, count: int) -> list[Draw]:
    return list(itertools.islice(mixer, count))


def test_proportional_shares() -> None:
    assert proportional_shares(np.array([30.0, 10.0])).tolist() == [0.75, 0.25]


def test_temperature_shares_by_hand() -> None:
    # square roots of 9 and 1
    np.testing.assert_allclose(temperature_shares(np.array([9.0, 1.0]), 2.0), [0.75, 0.25])
    assert temperature_shares(np.array([5.0, 0.0]), 3.0).tolist() == [1.0, 0.0]


@given(sizes_of_languages)
def test_temperature_one_is_proportional_and_a_high_one_even(sizes: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(temperature_shares(sizes, 1.0), proportional_shares(sizes), rtol=1e-9)
    np.testing.assert_allclose(temperature_shares(sizes, 1e9), 1 / len(sizes), rtol=1e-6)


def test_unimax_shares_by_hand() -> None:
    # budget 90 over three: 30 each; the smallest has 10 twice, the rest get (90 - 20) / 2
    given_tokens = unimax_shares(np.array([1000.0, 10.0, 500.0]), 90, 2) * 90
    np.testing.assert_allclose(given_tokens, [35, 20, 35])


@given(sizes_of_languages, st.floats(1, 1e10), st.floats(0.1, 20))
def test_unimax_fills_evenly_under_the_cap(
    sizes: NDArray[np.float64], budget: float, max_epochs: float
) -> None:
    shares = unimax_shares(sizes, budget, max_epochs)
    caps = sizes * max_epochs
    assert shares.sum() == pytest.approx(1)
    if budget >= caps.sum():
        np.testing.assert_allclose(shares, proportional_shares(sizes))
        return
    tokens = shares * budget
    assert (tokens <= caps * (1 + 1e-9)).all()
    # whoever is below its cap has as much as anybody: the water level
    level = tokens[tokens < caps * (1 - 1e-9)]
    assert np.allclose(level, tokens.max(), rtol=1e-6)


def test_fixed_shares_are_normalised_and_checked() -> None:
    sizes = np.array([5.0, 5.0])
    fixed = Mixing(strategy="fixed", shares={"deu-Latn": 9, "swh-Latn": 1})
    assert shares_of(fixed, ("deu-Latn", "swh-Latn"), sizes, None).tolist() == [0.9, 0.1]
    wrong = Mixing(strategy="fixed", shares={"deu-Latn": -1, "tur-Latn": 1})
    with pytest.raises(InputError) as caught:
        shares_of(wrong, ("deu-Latn", "swh-Latn"), sizes, None)
    for part in ("swh-Latn has no share", "tur-Latn is not among the languages", "share of deu-Latn is -1"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="all are 0"):
        shares_of(Mixing(strategy="fixed", shares={"deu-Latn": 0}), ("deu-Latn",), sizes[:1], None)


def test_wrong_values_are_named_together() -> None:
    with pytest.raises(InputError, match=r"(?s)strategy is 'even'.*temperature is 0.*unimax_epochs is nan"):
        Mixing(strategy="even", temperature=0, unimax_epochs=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="shares is empty"):
        Mixing(strategy="fixed")
    with pytest.raises(
        InputError, match=r"shares is \{'deu-Latn': 0.9\}: only fixed mixing has them, not unimax"
    ):
        Mixing(strategy="unimax", shares={"deu-Latn": 0.9})
    with pytest.raises(InputError, match="UniMax needs to know how many tokens"):
        LanguageMixer(Sizes({"deu-Latn": [1]}), [Stage(Mixing(strategy="unimax"))])
    with pytest.raises(InputError, match="Stage 1 of the mixing has None tokens"):
        LanguageMixer(Sizes({"deu-Latn": [1]}), [Stage(Mixing()), Stage(Mixing())])
    with pytest.raises(InputError, match="at least one stage"):
        LanguageMixer(Sizes({"deu-Latn": [1]}), [])
    with pytest.raises(InputError, match="max_epochs is 0"):
        LanguageMixer(Sizes({"deu-Latn": [1]}), max_epochs=0)
    with pytest.raises(InputError, match="seed -1 is not between"):
        LanguageMixer(Sizes({"deu-Latn": [1]}), seed=-1)


@given(corpora, st.integers(0, 2**64 - 1))
def test_shares_hold_at_every_moment(sizes: Sizes, seed: int) -> None:
    shares = {code: float(number) for number, code in enumerate(sizes.languages, start=1)}
    mixer = LanguageMixer(sizes, [Stage(Mixing(strategy="fixed", shares=shares))], seed=seed)
    share = mixer.shares()
    for _ in range(150):
        mixer.next()
        total = sum(mixer.tokens.values())
        for code, tokens in mixer.tokens.items():
            slack = 40 * (1 + len(share) * share[code])
            assert abs(tokens - share[code] * total) <= slack


def test_ninety_to_ten_in_tokens_though_texts_differ_in_length() -> None:
    sizes = Sizes({"eng-Latn": [10] * 50, "swh-Latn": [30] * 50})
    shares = {"eng-Latn": 0.9, "swh-Latn": 0.1}
    mixer = LanguageMixer(sizes, [Stage(Mixing(strategy="fixed", shares=shares))])
    take(mixer, 3000)
    tokens = mixer.tokens
    assert tokens["swh-Latn"] / sum(tokens.values()) == pytest.approx(0.1, abs=0.002)
    assert mixer.epochs["eng-Latn"] == tokens["eng-Latn"] / 500


@given(corpora, st.integers(0, 2**32))
def test_each_epoch_of_a_language_is_a_shuffle_of_all_of_it(sizes: Sizes, seed: int) -> None:
    draws = take(LanguageMixer(sizes, seed=seed, max_epochs=3), 1000)
    for number, count in enumerate(sizes.counts):
        of_language = [draw for draw in draws if draw.language == number]
        for epoch in range(3):
            part = of_language[epoch * count : (epoch + 1) * count]
            assert {draw.epoch for draw in part} == {epoch}
            assert sorted(draw.index for draw in part) == list(range(count))
    assert len(draws) == 3 * sum(sizes.counts)
    assert draws == take(LanguageMixer(sizes, seed=seed, max_epochs=3), 1000)


def test_epochs_and_seeds_are_shuffled_differently() -> None:
    sizes = Sizes({"deu-Latn": [1] * 100, "swh-Latn": [1] * 100})
    first = [draw.index for draw in LanguageMixer(sizes, max_epochs=2) if draw.language == 0]
    assert first[:100] != first[100:]
    assert first != [draw.index for draw in LanguageMixer(sizes, max_epochs=2, seed=1) if draw.language == 0]
    assert first != [draw.index for draw in LanguageMixer(sizes, max_epochs=2) if draw.language == 1]


def test_stages_follow_each_other() -> None:
    sizes = Sizes({"eng-Latn": [5] * 20, "swh-Latn": [5] * 20})

    def stage(share: float, tokens: int | None) -> Stage:
        return Stage(Mixing(strategy="fixed", shares={"eng-Latn": 1 - share, "swh-Latn": share}), tokens)

    mixer = LanguageMixer(sizes, [stage(0, 200), stage(0.5, 200), stage(1, None)])
    languages = [draw.language for draw in take(mixer, 120)]
    assert languages[:40] == [0] * 40
    assert sum(languages[40:80]) == 20
    assert languages[80:] == [1] * 40
    assert mixer.stage == 2


def test_a_stage_whose_languages_are_used_up_ends_early() -> None:
    sizes = Sizes({"eng-Latn": [5] * 4, "swh-Latn": [5] * 4})
    only = [{"eng-Latn": 1.0, "swh-Latn": 0.0}, {"eng-Latn": 0.0, "swh-Latn": 1.0}]
    stages = [
        Stage(Mixing(strategy="fixed", shares=only[0]), 1000),
        Stage(Mixing(strategy="fixed", shares=only[1])),
    ]
    draws = take(LanguageMixer(sizes, stages, max_epochs=1), 100)
    assert [draw.language for draw in draws] == [0] * 4 + [1] * 4


def test_unimax_never_reads_a_language_more_often_than_it_may() -> None:
    sizes = Sizes({"eng-Latn": [10] * 1000, "swh-Latn": [10] * 20})
    mixer = LanguageMixer(sizes, [Stage(Mixing(strategy="unimax", unimax_epochs=3))], budget=5000)
    while sum(mixer.tokens.values()) < 5000:
        mixer.next()
    assert mixer.epochs["swh-Latn"] == pytest.approx(3, abs=0.06)


@given(corpora, st.integers(0, 200), st.integers(0, 2**32))
def test_resuming_gives_the_same_next_examples(sizes: Sizes, done: int, seed: int) -> None:
    stages = [Stage(Mixing(strategy="temperature"), 100), Stage(Mixing())]
    mixer = LanguageMixer(sizes, stages, seed=seed)
    take(mixer, done)
    state: dict[str, Any] = json.loads(json.dumps(mixer.state_dict()))
    resumed = LanguageMixer(sizes, stages, seed=seed)
    resumed.load_state_dict(state)
    assert take(resumed, 100) == take(mixer, 100)
    assert resumed.state_dict() == mixer.state_dict()


def test_other_shares_hold_from_the_next_example_on() -> None:
    sizes = Sizes({"eng-Latn": [5] * 20, "swh-Latn": [5] * 20})
    mixer = LanguageMixer(sizes, [Stage(Mixing(strategy="fixed", shares={"eng-Latn": 0.9, "swh-Latn": 0.1}))])
    take(mixer, 40)
    mixer.reweigh({"eng-Latn": 1, "swh-Latn": 3})
    assert mixer.shares() == {"eng-Latn": 0.25, "swh-Latn": 0.75}
    assert mixer.shares(0) == {"eng-Latn": 0.9, "swh-Latn": 0.1}
    # what was given before is no debt: of any 40 examples 30 are of the second language
    assert sum(draw.language for draw in take(mixer, 40)) == pytest.approx(30, abs=1)
    mixer.reweigh({"eng-Latn": 1, "swh-Latn": 0})
    assert {draw.language for draw in take(mixer, 40)} == {0}
    with pytest.raises(InputError, match="swh-Latn has no share"):
        mixer.reweigh({"eng-Latn": 1})


@given(corpora, st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32))
def test_resuming_with_other_shares_gives_the_same_next_examples(
    sizes: Sizes, before: int, after: int, seed: int
) -> None:
    mixer = LanguageMixer(sizes, seed=seed)
    take(mixer, before)
    mixer.reweigh({code: 1 + number for number, code in enumerate(sizes.languages)})
    take(mixer, after)
    resumed = LanguageMixer(sizes, seed=seed)
    resumed.load_state_dict(json.loads(json.dumps(mixer.state_dict())))
    assert resumed.fingerprint() == mixer.fingerprint() == LanguageMixer(sizes, seed=seed).fingerprint()
    assert take(resumed, 60) == take(mixer, 60)


def test_shares_by_family() -> None:
    codes, sizes = ["deu-Latn", "nld-Latn", "swh-Latn"], np.array([16.0, 16.0, 8.0])
    families = {"deu-Latn": "Germanic", "nld-Latn": "Germanic", "swh-Latn": "Bantu", "zul-Latn": "Bantu"}
    mixing = Mixing(strategy="families", families=families, temperature=1e9)
    np.testing.assert_allclose(shares_of(mixing, codes, sizes, None), [0.25, 0.25, 0.5])
    with pytest.raises(InputError, match="Mixing by families: tur-Latn is of no family"):
        shares_of(mixing, [*codes, "tur-Latn"], np.array([1.0, 1, 1, 1]), None)
    with pytest.raises(InputError, match="families, which name the family of every language, is empty"):
        Mixing(strategy="families")


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_a_shuffle_is_a_permutation(size: int, key: int) -> None:
    whole = shuffled(np.arange(size), size, key)
    assert sorted(whole.tolist()) == list(range(size))
    some = np.arange(0, size, 7)
    assert shuffled(some, size, key).tolist() == whole[some].tolist()


def test_a_shuffle_of_a_huge_range_needs_no_memory() -> None:
    found = shuffled(np.arange(1000), 10**12, 3)
    assert len(set(found.tolist())) == 1000
    assert 0 <= found.min() and found.max() < 10**12
    assert found.mean() / 10**12 == pytest.approx(0.5, abs=0.05)


def test_every_place_of_a_shuffle_is_as_likely() -> None:
    hits = np.zeros((5, 5))
    for key in range(2000):
        hits[np.arange(5), shuffled(np.arange(5), 5, key)] += 1
    # 400 expected, standard deviation 18
    assert np.abs(hits - 400).max() < 90


def test_hashes_are_even_and_unrelated() -> None:
    words = hashed(7, np.arange(100_000))
    assert len(np.unique(words)) == 100_000
    values = uniform(words)
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(values, uniform(hashed(8, np.arange(100_000))))[0, 1]) < 0.02
    counts = np.bincount(below(words, 10), minlength=10)
    assert len(counts) == 10
    assert np.abs(counts - 10_000).max() < 600
