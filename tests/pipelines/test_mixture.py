"""Shares of real languages come back from tokenizers that were trained on them; bad requests are refused."""

from __future__ import annotations

import builtins
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from eval.quality.mixture import KINDS, MIXTURES, Bench, compare
from polycompress.cli.mixture_view import show_mixture
from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.mixture import UNIT, MixtureReport, infer_mixture
from polycompress.pipelines.trimming import mixture_text
from polycompress.pipelines.trimming.loading import open_vocabulary
from polycompress.pipelines.trimming.mixture_text import word_splitter
from polycompress.vocab.organic_merges import organic_merges

pytest.importorskip("scipy")

GERMAN = [
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Heute scheint die Sonne über der Stadt.",
]
SWAHILI = ["Nairobi ni mji mkuu wa Kenya na jiji kubwa zaidi.", "Watoto wanacheza mpira uwanjani leo jioni."]


@pytest.fixture(scope="module")
def bench(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Tokenizers trained on one half of the pack's text, and the other half as files."""
    return Bench(data_dir, tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def quick(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The same with less training text."""
    return Bench(data_dir, tmp_path_factory.mktemp("quick"), 400_000)


@pytest.fixture
def less_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is read of each candidate."""
    monkeypatch.setattr(mixture_text, "MAX_LANGUAGE_BYTES", 250_000)
    monkeypatch.setattr(mixture_text, "FORMS", 4_000)


def inferred(bench: Bench, kind: str, mixture: Mapping[str, float], **more: Any) -> dict[str, Any]:
    """Shares true and found."""
    model, truth = bench.tokenizer(kind, mixture)
    report, seconds = bench.infer(model, list(mixture), **more)
    return compare(report, truth, seconds)


@pytest.mark.parametrize("mixture", [MIXTURES[0], MIXTURES[3], MIXTURES[7]], ids="+".join)
@pytest.mark.usefixtures("less_text")
def test_known_mixtures_come_back(quick: Bench, mixture: Mapping[str, float]) -> None:
    found = inferred(quick, "byte-level", mixture, merges=600, samples=3)
    assert found["mean_error_points"] < 3
    assert found["trust"] == "good"
    assert found["unexplained"] < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixture", [MIXTURES[1], MIXTURES[4], MIXTURES[6], MIXTURES[7]], ids="+".join)
def test_known_mixtures_come_back_for_every_kind(
    bench: Bench, kind: str, mixture: Mapping[str, float]
) -> None:
    found = inferred(bench, kind, mixture, samples=5)
    assert found["mean_error_points"] < 3
    assert found["trust"] == "good"


@pytest.mark.usefixtures("less_text")
def test_a_missing_candidate_is_noticed(quick: Bench) -> None:
    model, _ = quick.tokenizer("byte-level", MIXTURES[3])
    report, _ = quick.infer(model, ["en", "ru"], merges=600, samples=2)
    assert report.trust.level == "poor"
    assert "is missing among the candidates" in report.trust.text
    assert report.unexplained > 0.05


@pytest.mark.usefixtures("less_text")
def test_a_candidate_too_many_gets_nothing(quick: Bench) -> None:
    model, _ = quick.tokenizer("byte-level", MIXTURES[0])
    report, _ = quick.infer(model, ["de", "sw", "ru"], merges=500, samples=2)
    russian = report.languages[2]
    assert russian.language.code == "rus-Cyrl"
    assert russian.share < 0.01
    assert russian.merges < 5


@pytest.mark.usefixtures("less_text")
def test_word_frequencies_stand_in_and_are_called_rough(quick: Bench) -> None:
    model, _ = quick.tokenizer("byte-level", {"de": 0.5, "en": 0.5})
    report, _ = quick.infer(model, ["de", "en"], text=False, merges=300, samples=2)
    assert report.trust.level == "fair"
    assert "word frequencies stand for German, English" in report.trust.text
    assert report.languages[0].candidate.as_dict() == {
        "text": "built-in word frequencies",
        "bytes": 0,
        "lines": report.languages[0].candidate.lines,
        "cut": False,
    }
    assert 0.2 < report.languages[0].share < 0.8


@pytest.mark.usefixtures("less_text")
@pytest.mark.parametrize("text", [True, False])
def test_languages_that_are_all_others_are_called_so(quick: Bench, text: bool) -> None:
    model, _ = quick.tokenizer("byte-level", {"de": 0.5, "en": 0.5})
    report, _ = quick.infer(model, ["ru", "tr"], text=text, samples=2)
    assert report.trust.level == "poor"


# --- small ones, without the data pack


def save(tokenizer: Tokenizer, path: Path, **model: Any) -> Path:
    """A model directory that is a tokenizer only."""
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text("{}")
    document = json.loads(tokenizer.to_str())
    document["model"].update(model)
    (path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    return path


def small_tokenizer(lines: list[str]) -> Tokenizer:
    """Byte-level, some hundred merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A model directory, and de.txt and sw.txt beside it."""
    (tmp_path / "de.txt").write_text("\n".join(GERMAN * 20), encoding="utf-8")
    (tmp_path / "sw.txt").write_text("\n".join(SWAHILI * 20), encoding="utf-8")
    return save(small_tokenizer([*GERMAN * 3, *SWAHILI]), tmp_path / "model")


def ask(model: Path, **more: Any) -> MixtureReport:
    """With the two files beside the model."""
    corpus = [f"{code}={model.parent / code}.txt" for code in ("de", "sw")]
    return infer_mixture(model, **({"langs": "de,sw", "corpus": corpus, "samples": 3} | more))


def test_report_is_whole_and_repeats(small: Path) -> None:
    calls: list[tuple[str, int, int | None]] = []
    report = ask(small, seed=4, progress=lambda *call: calls.append(call))
    german, swahili = report.languages
    assert (german.language.code, swahili.language.code) == ("deu-Latn", "swh-Latn")
    assert german.share + swahili.share == pytest.approx(1)
    assert german.share > swahili.share
    assert all(0 <= item.low <= item.share <= item.high <= 1 for item in report.languages)
    assert german.candidate.bytes == sum(len(line.encode()) for line in GERMAN * 20)
    assert german.candidate.lines == 40
    plain = report.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["unit"] == UNIT == "share of bytes of UTF-8 text"
    assert plain["shares"]["deu-Latn"]["interval"] == [german.low, german.high]
    assert plain["merges"]["considered"] == plain["merges"]["used"] + plain["merges"]["absent"]
    assert ask(small, seed=4).as_dict() == plain
    assert {label for label, _, _ in calls} >= {"reading German", "reading Swahili", "bootstrap"}


def test_report_is_shown(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = ask(small)
    show_mixture(report)
    shown = capsys.readouterr().out
    assert "German" in shown
    assert "share of bytes" in shown
    assert "trust: fair." in shown
    assert "less than 200 kB of text for German, Swahili" in shown


def test_merges_that_never_occur_are_counted(small: Path) -> None:
    (small.parent / "sw.txt").write_text("x", encoding="utf-8")
    report = ask(small)
    assert report.merges_absent > 10
    assert report.merges_used + report.merges_absent == report.merges_considered
    assert report.languages[1].share == 0


def test_fewer_merges_on_request(small: Path) -> None:
    report = ask(small, merges=60)
    assert report.merges_considered == 60
    assert report.merges_listed > 60
    assert "only 60 merges could be used" in report.trust.text


def test_a_trimmed_vocabulary_is_called_so(small: Path) -> None:
    (small / "polycompress.json").write_text("{}")
    report = ask(small)
    assert report.trust.level == "poor"
    assert "this vocabulary was trimmed" in report.trust.text


def test_text_is_read_up_to_a_bound(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture_text, "MAX_LANGUAGE_BYTES", 500)
    with gzip.open(small.parent / "de2.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(GERMAN * 20))
    corpus = [f"de={small.parent}/de*", f"sw={small.parent}/sw.txt"]
    report = ask(small, corpus=corpus)
    german = report.languages[0].candidate
    assert german.cut
    assert 500 <= german.bytes < 700
    assert report.as_dict()["shares"]["deu-Latn"]["cut"] is True


def test_converted_sentencepiece_is_split_where_training_did(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    lines = ["▁" + line.replace(" ", "▁") for line in GERMAN]
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    document = json.loads(tokenizer.to_str())
    document["pre_tokenizer"] = None
    document["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    path = save(Tokenizer.from_str(json.dumps(document)), tmp_path / "model")
    vocabulary = open_vocabulary(resolve_model(path))
    merges = organic_merges(vocabulary.document["model"], 500, byte_level=False)
    assert word_splitter(vocabulary, merges)("Der Hund  springt") == ["Der", "▁Hund", "▁▁springt"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False),
            "tokenizer is Unigram.*found by dropping pieces from a large set, not by merging pairs",
        ),
        (
            models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"),
            "tokenizer is WordPiece.*keeps only the finished pieces, not the merges",
        ),
    ],
)
def test_other_tokenizers_are_refused(model: models.Model, reason: str, tmp_path: Path) -> None:
    save(Tokenizer(model), tmp_path / "model")
    with pytest.raises(InputError, match=reason):
        infer_mixture(tmp_path / "model", langs="de,en")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"langs": "de", "corpus": []}, "at least two candidate languages, and there is deu-Latn"),
        ({"samples": 1}, "1 bootstrap samples give no interval; give at least 2"),
        ({"merges": 10}, "--merges 10 is too few to tell languages apart; give at least 50"),
        (
            {"langs": "de,rw", "corpus": []},
            "no built-in word frequencies for Kinyarwanda .*--corpus kin-Latn",
        ),
        ({"langs": "de,fr"}, "Swahili .swh-Latn., which was not asked for"),
    ],
)
def test_wrong_requests_are_refused(small: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask(small, **more)


def test_a_corpus_without_text_is_refused(small: Path) -> None:
    (small.parent / "sw.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"--corpus swh-Latn=.*sw.txt.*no text in it"):
        ask(small)


def test_text_in_which_no_merge_occurs_is_refused(small: Path) -> None:
    for code in ("de", "sw"):
        (small.parent / f"{code}.txt").write_text("x\ny", encoding="utf-8")
    with pytest.raises(
        InputError, match="none of the tokenizer's merges occurs in the text of any candidate"
    ):
        ask(small)


def test_a_tokenizer_without_merges_is_refused(small: Path) -> None:
    save(small_tokenizer(GERMAN), small, merges=[])
    with pytest.raises(InputError, match="its BPE tokenizer lists no merges"):
        ask(small)


def test_without_scipy_the_extra_is_named(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "scipy":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"Mixture inference needs packages.*polycompress\[train\]"):
        ask(small)
