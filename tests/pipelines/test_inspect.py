"""What inspect finds."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from polycompress import inspect, trim
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import find_language
from polycompress.pipelines.trimming.gathering import count_corpus
from polycompress.pipelines.trimming.loading import open_model
from polycompress.pipelines.trimming.profile import _word_forms
from polycompress.vocab.counts import Counts, save_counts
from polycompress.vocab.frequencies import FORMS, weighted_forms, word_buckets
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(
        "xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400, padding_rows=7
    )


@pytest.fixture
def german(tmp_path: Path) -> Path:
    path = tmp_path / "de.txt"
    path.write_text("\n".join(f"{line} {n}" for n in range(60) for line in TEXTS[:4]), encoding="utf-8")
    return path


def test_parts_add_up(source: Path) -> None:
    found = inspect(source)
    assert sum(found.parameters.values()) * 4 == found.bytes
    assert found.parameters["embeddings"] > 0
    assert found.tokenizer_type == "Unigram"
    assert any("7 rows more" in oddity for oddity in found.oddities)
    assert any("lowest score" in oddity for oddity in found.oddities)
    assert (found.profiles, found.frontiers, found.overlap, found.together) == ((), (), None, None)
    json.dumps(found.as_dict())


def test_the_frontier_rises_and_holds_the_default(source: Path, tmp_path: Path, german: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    found = inspect(source, langs="de,tr", corpus=f"de={german}", plot=tmp_path / "frontier.svg")
    first, second = found.frontiers
    for frontier in (first, second):
        coverage = [point.coverage for point in frontier.points]
        identical = [point.identical for point in frontier.points if point.identical is not None]
        assert coverage == sorted(coverage)
        assert identical == sorted(identical)
        assert coverage[-1] == pytest.approx(1.0)
    assert first.unseen is not None
    assert second.unseen is None
    alone = trim(source, langs="de", corpus=f"de={german}", dry_run=True)
    both = trim(source, langs="de,tr", corpus=f"de={german}", dry_run=True)
    assert first.default.size == len(alone.plan.keep_ids)
    assert found.together == len(both.plan.keep_ids)
    assert inspect(source, langs="de", corpus=str(german)).together == first.default.size
    assert (tmp_path / "frontier.svg").stat().st_size > 1000
    json.dumps(found.as_dict())


def test_a_corpus_adds_its_language(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "sw.txt.gz"
    path.write_bytes(gzip.compress("\n".join(f"Habari ya leo {n}" for n in range(90)).encode()))
    found = inspect(source, langs="de,tr", corpus=f"sw={path}")
    assert [frontier.language.code for frontier in found.frontiers] == ["deu-Latn", "tur-Latn", "swh-Latn"]
    assert [profile.text for profile in found.profiles] == ["word frequencies"] * 2 + ["corpus"]
    alone = inspect(source, corpus=[f"swa={path}"])
    assert [profile.language.code for profile in alone.profiles] == ["swh-Latn"]
    with pytest.raises(InputError, match="does not say its language, and there are 2"):
        inspect(source, langs="de,tr", corpus=str(path))
    with pytest.raises(InputError, match="does not say its language, and there are 0"):
        inspect(source, corpus=str(path))
    with pytest.raises(InputError, match="Unknown language 'qqqx'"):
        inspect(source, corpus=f"qqqx={path}")


def test_figures_of_a_corpus_are_those_of_its_text(source: Path, german: Path) -> None:
    opened = open_model(source)
    counts = count_corpus(opened.vocabulary, [german])
    lines = counts.held_out_texts
    assert lines
    segmented = opened.vocabulary.tokenizer.encode_batch(list(lines), add_special_tokens=False)
    words = sum(len(line.split()) for line in lines)
    (profile,) = inspect(source, langs="de", corpus=str(german), frequencies=False).profiles
    assert profile.tokens_per_word == pytest.approx(sum(len(each.ids) for each in segmented) / words)
    assert profile.tokens_per_character == pytest.approx(counts.tokens / counts.characters)
    assert profile.used == len(counts.ids)
    assert profile.used_share == profile.used / opened.vocabulary.size
    assert profile.continued_words is not None
    assert 0 < profile.continued_words < 1


def test_counts_are_as_good_as_the_corpus(source: Path, german: Path, tmp_path: Path) -> None:
    vocabulary = open_model(source).vocabulary
    counts = count_corpus(vocabulary, [german])
    save_counts(
        Counts(
            tokenizer_sha256=vocabulary.sha256, vocab_size=vocabulary.size, languages={"deu-Latn": counts}
        ),
        tmp_path / "counts.npz",
    )
    read = inspect(source, langs="de", corpus=str(german))
    for langs in ("de", ""):
        counted = inspect(source, langs=langs, counts=tmp_path / "counts.npz")
        assert counted.profiles == read.profiles
        assert counted.frontiers == read.frontiers
    without_texts = replace(counts, held_out_texts=None)
    save_counts(
        Counts(
            tokenizer_sha256=vocabulary.sha256,
            vocab_size=vocabulary.size,
            languages={"deu-Latn": without_texts},
        ),
        tmp_path / "no-texts.npz",
    )
    (profile,) = inspect(source, counts=tmp_path / "no-texts.npz").profiles
    assert (profile.tokens_per_word, profile.continued_words) == (None, None)
    assert profile.tokens_per_character == read.profiles[0].tokens_per_character
    with pytest.raises(InputError, match=r"counts of deu-Latn, but asked for is tur-Latn"):
        inspect(source, langs="tr", counts=tmp_path / "counts.npz")


def test_a_corpus_too_small_to_hold_lines_out_is_read_itself(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "few.txt"
    path.write_text("Der schnelle Fuchs\n", encoding="utf-8")
    (profile,) = inspect(source, langs="de", corpus=str(path), frequencies=False).profiles
    tokens = open_model(source).vocabulary.tokenizer.encode("Der schnelle Fuchs", add_special_tokens=False)
    assert profile.tokens_per_word == pytest.approx(len(tokens.ids) / 3)


@pytest.mark.parametrize(
    ("family", "head"), [("xlm-roberta", "mlm"), ("bert", "mlm"), ("llama", "clm"), ("qwen2", "clm")]
)
def test_text_that_the_vocabulary_does_not_know_is_unknown_or_bytes(
    family: str, head: str, tmp_path: Path
) -> None:
    model = make_tiny(family, head, tmp_path / family)
    path = tmp_path / "am.txt"
    path.write_text("\n".join(f"ሰላም ለዓለም {'ሰ' * n}" for n in range(1, 60)), encoding="utf-8")
    (profile,) = inspect(model, corpus=f"am={path}").profiles
    strange = (profile.unknown, profile.partial)
    if family in {"llama", "qwen2"}:
        assert profile.unknown == 0
        assert profile.partial > 0.5
    else:
        assert profile.unknown > 0.2
        assert profile.partial == 0
    assert sum(strange) <= 1
    assert profile.letters is not None
    assert profile.letters.share < 0.1
    assert "ሰ" in profile.letters.missing
    assert profile.letters.single == 0


def test_letters_that_pieces_can_write(source: Path) -> None:
    (profile,) = inspect(source, langs="de").profiles
    assert profile.letters is not None
    assert set(profile.letters.missing) <= set(find_language("de").letters)
    assert "ü" not in profile.letters.missing
    plain = profile.as_dict()["letters"]
    assert plain["needed"] == len(find_language("de").letters)
    assert plain["coverage"] == 1 - len(plain["missing"]) / plain["needed"]


def test_languages_without_spaces_have_no_words(source: Path) -> None:
    chinese, korean = inspect(source, langs="zh,ko").profiles
    assert (chinese.tokens_per_word, chinese.continued_words) == (None, None)
    assert chinese.tokens_per_character is not None
    assert korean.tokens_per_word is None  # its word list holds parts of words


def test_chinese_words_are_not_measured_behind_a_space(tmp_path: Path) -> None:
    """In byte-level BPE a space joins the first byte of what follows; text in Chinese has none there."""
    vocabulary = open_model(make_tiny("qwen2", "clm", tmp_path / "qwen2")).vocabulary
    german, chinese = (_word_forms(vocabulary, find_language(code)) for code in ("de", "zh"))
    assert all(text.startswith(" ") for text in german.texts)
    assert not any(" " in text for text in chinese.texts)
    for sample in (
        german,
        chinese,
    ):  # the sample weighs what the whole list weighs, but for forms of two words
        language = find_language("de" if sample is german else "zh")
        made = weighted_forms(word_buckets(language), language, FORMS)
        weight = sum(10 ** (-centibels / 100) * len(forms) for centibels, forms in made.groups.items())
        assert sample.weights is not None
        assert sample.weights.sum() == pytest.approx(weight, rel=0.01)


def test_overlap_is_measured_and_drawn(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")
    found = inspect(source, langs="de,nl,ru", plot_overlap=tmp_path / "overlap.png")
    assert found.overlap is not None
    assert found.overlap.codes == ("deu-Latn", "nld-Latn", "rus-Cyrl")
    jaccard = found.overlap.jaccard
    assert jaccard[0, 1] > jaccard[0, 2]
    assert jaccard[0, 1] > jaccard[1, 2]
    np.testing.assert_array_equal(jaccard, jaccard.T)
    assert found.overlap.used_also.shape == (3, 3)
    assert (tmp_path / "overlap.png").stat().st_size > 1000
    assert inspect(source, langs="de").overlap is None
    with pytest.raises(InputError, match="--plot-overlap compares languages and needs two at least, not 1"):
        inspect(source, langs="de", plot_overlap=tmp_path / "one.png")


@pytest.mark.parametrize("option", ["plot", "plot_overlap"])
def test_pictures_that_cannot_be_drawn_are_refused_at_once(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "no-model"
    wrong: dict[str, Any] = {option: tmp_path / "a.gif"}
    right: dict[str, Any] = {option: tmp_path / "a.png"}
    with pytest.raises(InputError, match=r"cannot draw a '\.gif' file"):
        inspect(nowhere, langs="de,tr", **wrong)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"polycompress\[report\]"):
        inspect(nowhere, langs="de,tr", **right)


def test_gaps_are_shown_not_raised(source: Path) -> None:
    found = inspect(source, langs="de,sw")
    assert [frontier.language.code for frontier in found.frontiers] == ["deu-Latn"]
    assert found.gaps[0].startswith("Swahili (swh-Latn): no built-in word frequencies and no corpus")
    assert "--corpus swh-Latn='FILES'" in found.gaps[0]
    assert "--counts FILE" in found.gaps[0]
    assert "FLORES-200" in found.gaps[0]
    (german,) = inspect(source, langs="de", frequencies=False).gaps
    assert german.startswith("German (deu-Latn): word frequencies are switched off and no corpus")


class _Report:
    def as_dict(self) -> dict[str, Any]:
        return {"shares": {"deu-Latn": 1.0}}


def test_the_mixture_is_asked_for_with_its_own_corpora(
    source: Path, german: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def infer_mixture(model: object, **settings: Any) -> _Report:
        asked.update(settings, model=model)
        return _Report()

    module = ModuleType("polycompress.pipelines.mixture")
    monkeypatch.setattr(module, "infer_mixture", infer_mixture, raising=False)
    monkeypatch.setitem(sys.modules, "polycompress.pipelines.mixture", module)
    found = inspect(source, mixture="de,fr", corpus=[f"de={german}", f"sw={german}"])
    assert asked["langs"] == ["deu-Latn", "fra-Latn"]
    assert asked["corpus"] == [f"de={german}"]
    assert asked["model"] == source
    # A corpus of a candidate is not looked at for anything else, unless its language is asked for too.
    assert [profile.language.code for profile in found.profiles] == ["swh-Latn"]
    assert found.as_dict()["mixture"] == {"shares": {"deu-Latn": 1.0}}
    both = inspect(source, langs="de", mixture=["de", "fr"], corpus=f"de={german}")
    assert [profile.text for profile in both.profiles] == ["corpus"]
    assert inspect(source).as_dict()["mixture"] is None
