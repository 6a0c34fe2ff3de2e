"""The cache of word counts: whatever has become of it, a run does its work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from polycompress import trim
from polycompress.corpora import parse_corpora
from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.pipelines.count import count_files
from polycompress.pipelines.trimming import gathering
from polycompress.pipelines.trimming.gathering import count_words, counts_from_files, gather_language
from polycompress.pipelines.trimming.loading import open_model
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "word-counts"


def kept(source: Path) -> list[int]:
    ids: list[int] = trim(source, langs="de", dry_run=True).plan.keep_ids.tolist()
    return ids


def test_a_second_run_counts_nothing(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kept(source)
    assert len(list(cache.glob("*.npz"))) == 2

    def fail(*_: object) -> None:
        raise AssertionError("the word list was read again")

    monkeypatch.setattr(gathering, "word_buckets", fail)
    assert kept(source) == first


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(os.urandom(300)),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b""),
        _directory,
        _pipe,
    ],
    ids=["noise", "cut off", "empty", "directory", "pipe"],
)
def test_a_damaged_cache_is_counted_again(
    source: Path, cache: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = kept(source)
    for path in list(cache.glob("*.npz")):
        damage(path)
    assert kept(source) == first
    assert "damaged or not readable; counting the word list again" in caplog.text


def test_counts_of_another_tokenizer_are_not_taken(source: Path, cache: Path, tmp_path: Path) -> None:
    other = make_tiny("xlm-roberta", "mlm", tmp_path / "other", vocab_size=300)
    expected = kept(source)
    shutil.move(cache, tmp_path / "kept")
    kept(other)
    strange, own = sorted(cache.glob("*.npz")), sorted((tmp_path / "kept").glob("*.npz"))
    for stranger, name in zip(strange, own, strict=True):
        stranger.rename(cache / name.name)
    assert kept(source) == expected


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null", "/dev/full"])
def test_a_cache_that_cannot_be_written_is_done_without(
    source: Path, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("POLYCOMPRESS_CACHE", place)
    assert kept(source)
    assert "cannot keep the counts for later runs" in caplog.text


def test_no_home_is_no_error(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("POLYCOMPRESS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", _no_home)
    assert kept(source)
    assert not caplog.text


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_words_of_languages_without_spaces_have_none_before_them(cache: Path, tmp_path: Path) -> None:
    model = make_tiny("gpt2", "clm", tmp_path / "gpt2", vocab_size=400)
    vocabulary = open_model(model).vocabulary
    space = vocabulary.tokenizer.encode("a b", add_special_tokens=False).ids[1:]
    assert vocabulary.texts[space[0]].startswith(" ")  # type: ignore[union-attr]
    spaced = [text is not None and text.startswith(" ") for text in vocabulary.texts]
    chinese = count_words(vocabulary, find_language("zh"), 2_000).dense(vocabulary.size)
    german = count_words(vocabulary, find_language("de"), 2_000).dense(vocabulary.size)
    assert chinese[spaced].sum() < 0.2 * chinese.sum()
    assert german[spaced].sum() > 0.2 * german.sum()


def test_no_text_is_counted_twice(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text, more = tmp_path / "a.txt", tmp_path / "b.txt"
    text.write_text("Hund und Katze\n" * 9)
    more.write_text("die Katze\n" * 5)
    for name, corpus in (("a", [text]), ("again", [text]), ("b", [more]), ("both", [text, more])):
        count_files(source, "de", [str(path) for path in corpus], tmp_path / f"{name}.npz", engine="process")

    german, vocabulary = find_language("de"), open_model(source).vocabulary

    def counted(*names: str, corpus: Path | None = None) -> float:
        held = counts_from_files([tmp_path / f"{name}.npz" for name in names], vocabulary, [german])
        corpora = parse_corpora([str(corpus)] if corpus else [], [german])
        evidence = gather_language(vocabulary, german, corpora, counts=held, background=None)
        assert evidence.corpus is not None
        return evidence.corpus.tokens

    once = counted("a")
    assert counted("a", "again") == once
    assert "again.npz: is of the same text as" in caplog.text
    assert counted("a", corpus=text) == once
    assert counted("a", "b") == counted("both") == counted("a", corpus=more) > once
    with pytest.raises(InputError, match=r"a\.npz and .*both\.npz: a\.txt is in both"):
        counted("a", "both")
    with pytest.raises(InputError, match=r"--counts and --corpus: b\.txt is in both"):
        counted("both", corpus=more)
