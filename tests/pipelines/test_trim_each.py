"""One trimmed model for each of many languages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from polycompress import trim
from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines import trim_each as module
from polycompress.pipelines.trim_each import trim_each
from polycompress.pipelines.trimming.gathering import count_corpus
from polycompress.pipelines.trimming.loading import open_model
from polycompress.pipelines.trimming.request import TrimSettings
from polycompress.vocab.counts import Counts, save_counts
from polycompress.vocab.selection import Limit
from tests.tiny_models import TEXTS, make_tiny

SETTINGS = TrimSettings(limit=Limit(by="size", value=230))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(f"{text} {number}" for number in range(40) for text in TEXTS), encoding="utf-8")
    return path


def test_each_language_gets_the_model_that_a_trim_of_its_own_gives(
    source: Path, corpus: Path, tmp_path: Path
) -> None:
    outcomes = trim_each(
        source,
        each="de,sw,fr",
        corpus=[f"sw={corpus}"],
        out=tmp_path / "tiny-{code}",
        settings=SETTINGS,
    )
    assert [(outcome.language.code, outcome.status) for outcome in outcomes] == [
        ("deu-Latn", "done"),
        ("swh-Latn", "done"),
        ("fra-Latn", "done"),
    ]
    for code in ("de", "sw", "fr"):
        alone = tmp_path / f"alone-{code}"
        trim(source, langs=code, corpus=[f"sw={corpus}"] if code == "sw" else (), size=230, out=alone)
        together = tmp_path / f"tiny-{find_language(code).code}"
        for name in ("model.safetensors", "tokenizer.json", "config.json"):
            assert (together / name).read_bytes() == (alone / name).read_bytes(), (code, name)
        ours, its = read_manifest(together), read_manifest(alone)
        assert ours is not None
        assert its is not None
        assert ours["source"] == its["source"]
        assert ours["kept_ids"] == its["kept_ids"]


def test_languages_that_every_model_keeps(source: Path, tmp_path: Path) -> None:
    outcomes = trim_each(source, each="de,en", langs="en", out=tmp_path / "{iso}-en", settings=SETTINGS)
    plans = [outcome.result.plan for outcome in outcomes if outcome.result is not None]
    assert [[language.code for language in plan.languages] for plan in plans] == [
        ["deu-Latn", "eng-Latn"],
        ["eng-Latn"],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["de-en", "en-en"]


def test_the_source_is_opened_and_hashed_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for name in ("open_model", "hash_source", "count_background"):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, real=real, name=name: calls.append(name) or real(*args)
        )
    trim_each(source, each="de,fr,tr", out=tmp_path / "{code}", settings=SETTINGS)
    assert sorted(calls) == ["count_background", "hash_source", "open_model"]


def test_a_failure_does_not_lose_the_others(source: Path, tmp_path: Path) -> None:
    (tmp_path / "m-fra-Latn").write_text("in the way")
    outcomes = trim_each(
        source,
        each="de,fr,yo",
        out=tmp_path / "m-{code}",
        settings=TrimSettings(limit=Limit(by="size", value=230), overwrite=True),
    )
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "failed"]
    assert "yor-Latn" in outcomes[2].message
    assert (tmp_path / "m-fra-Latn").read_text() == "in the way"
    assert (tmp_path / "m-deu-Latn" / "model.safetensors").exists()


def test_of_a_family_only_covered_languages_are_made(source: Path, tmp_path: Path) -> None:
    outcomes = trim_each(source, each="Bantu,de", dry_run=True, settings=SETTINGS)
    status = {outcome.language.code: outcome.status for outcome in outcomes}
    assert status["deu-Latn"] == "planned"
    assert status["swh-Latn"] == "no source"
    assert not list(tmp_path.iterdir())


def test_a_family_of_which_nothing_is_known_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"--each 'Bantu': there is nothing to make\n.*Bemba.*--corpus bem-Latn='FILES'; .*SIB-200",
    ):
        trim_each(source, each="Bantu", out=tmp_path / "{code}", settings=SETTINGS)
    assert not list(tmp_path.iterdir())


def test_damaged_text_of_one_language_does_not_lose_the_others(
    source: Path, corpus: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "text.txt.gz"
    damaged.write_bytes(gzip.compress(corpus.read_bytes())[:-20])
    outcomes = trim_each(
        source, each="de,sw,fr", corpus=f"sw={damaged}", out=tmp_path / "m-{code}", settings=SETTINGS
    )
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "text.txt.gz: the compressed data are damaged" in outcomes[1].message
    assert not (tmp_path / "m-swh-Latn").exists()


def test_what_is_there_is_left_alone(source: Path, tmp_path: Path) -> None:
    first = trim_each(source, each="de", out=tmp_path / "{code}", settings=SETTINGS)
    before = (tmp_path / "deu-Latn" / "polycompress.json").stat().st_mtime_ns
    again = trim_each(source, each="de,fr", out=tmp_path / "{code}", settings=SETTINGS)
    assert [outcome.status for outcome in (*first, *again)] == ["done", "already there", "done"]
    assert (tmp_path / "deu-Latn" / "polycompress.json").stat().st_mtime_ns == before


def test_outcomes_as_json(source: Path, tmp_path: Path) -> None:
    outcomes = trim_each(source, each="de,yo", out=tmp_path / "{code}", settings=SETTINGS)
    done, failed = (json.loads(json.dumps(outcome.as_dict(), default=str)) for outcome in outcomes)
    assert done["certificate"]["passed"] is True
    assert (failed["status"], failed["plan"]) == ("failed", None)
    assert "word frequencies" in failed["message"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"out": "models/one"}, r"put \{code\} or \{iso\} in it"),
        ({"out": None}, r"put \{code\} or \{iso\} in it"),
        ({"out": "m-{iso}", "each": "sr,sr-Latn"}, "would be both srp-Cyrl and srp-Latn"),
        ({"each": "de,germn"}, "germn"),
        ({"langs": "yo"}, "Yoruba"),
    ],
)
def test_requests_that_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        trim_each(source, **({"each": "de,fr", "out": "m-{code}"} | asked))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_counts_files_stand_for_the_text(source: Path, corpus: Path, tmp_path: Path) -> None:
    vocabulary = open_model(source).vocabulary
    counted = count_corpus(vocabulary, [corpus])
    path = tmp_path / "sw.npz"
    save_counts(
        Counts(
            tokenizer_sha256=vocabulary.sha256, vocab_size=vocabulary.size, languages={"swh-Latn": counted}
        ),
        path,
    )
    from_text = trim(source, langs="sw", corpus=f"sw={corpus}", out=tmp_path / "a")
    from_counts = trim(source, langs="sw", counts=path, out=tmp_path / "b")
    assert np.array_equal(from_text.plan.keep_ids, from_counts.plan.keep_ids)
    assert from_text.certificate is not None
    assert from_counts.certificate is not None
    assert from_text.certificate.as_dict() == from_counts.certificate.as_dict()
    manifest = read_manifest(tmp_path / "b")
    assert manifest is not None
    assert manifest["config"]["counts"] == [str(path)]


def test_counts_of_another_tokenizer_or_language_are_refused(source: Path, tmp_path: Path) -> None:
    vocabulary = open_model(source).vocabulary
    path = tmp_path / "counts.npz"
    for sha256, message in (("0" * 64, "tokenizer"), (vocabulary.sha256, "asked for is swh-Latn")):
        save_counts(
            Counts(tokenizer_sha256=sha256, vocab_size=vocabulary.size, languages={}),
            path,
        )
        with pytest.raises(InputError, match=message):
            trim(source, langs="sw", counts=path, dry_run=True)


@pytest.mark.parametrize(
    "there", ["other settings", "other source", "no manifest", "a broken manifest", "a file"]
)
def test_what_is_there_and_is_another_model_fails_alone(source: Path, tmp_path: Path, there: str) -> None:
    place = tmp_path / "deu-Latn"
    if there == "other settings":
        trim(source, langs="de", size=240, out=place)
    elif there == "other source":
        other = make_tiny("xlm-roberta", "mlm", tmp_path / "other", vocab_size=420)
        trim(other, langs="de", size=230, out=place)
    elif there == "a file":
        place.write_text("hi")
    else:
        place.mkdir()
        (place / ("notes.txt" if there == "no manifest" else "polycompress.json")).write_text("hi")
    before = sorted((path, path.stat().st_mtime_ns) for path in (place, *place.rglob("*")))
    failed, done = trim_each(source, each="de,fr", out=tmp_path / "{code}", settings=SETTINGS)
    assert (failed.status, done.status) == ("failed", "done")
    assert failed.message == (
        f"{place}: already exists. Choose another output, or pass --overwrite to replace it."
    )
    assert before == sorted((path, path.stat().st_mtime_ns) for path in (place, *place.rglob("*")))


def test_what_is_there_counts_with_its_shared_languages_and_coverage(source: Path, tmp_path: Path) -> None:
    """What a manifest holds has been through JSON; a coverage that is no short decimal stays equal."""
    settings = TrimSettings(limit=Limit(by="coverage", value=0.1 + 0.2), keep_regex=("^a$",))
    for status in ("done", "already there"):
        found = trim_each(source, each="de,en", langs="en", out=tmp_path / "{code}", settings=settings)
        assert [outcome.status for outcome in found] == [status, status]
    (alone,) = trim_each(source, each="de", out=tmp_path / "{code}", settings=settings)
    assert alone.status == "failed"
