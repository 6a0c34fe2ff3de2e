"""Counting corpora: what is counted, in which pieces, and what an interruption leaves."""

from __future__ import annotations

import gzip
import json
import logging
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from polycompress.corpora import Reading, is_held_out
from polycompress.errors import InputError, PolycompressError
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.count import CountResult, count_files
from polycompress.pipelines.counting import plan as counting_plan
from polycompress.pipelines.counting.engines import CoresEngine
from polycompress.pipelines.counting.parts import Parts
from polycompress.pipelines.counting.units import Job, Unit, read_tokenizer
from polycompress.pipelines.trimming.gathering import count_corpus
from polycompress.pipelines.trimming.loading import open_model
from polycompress.vocab.counts import LanguageCounts, load_counts
from polycompress.vocab.held_out import HELD_OUT_SHARE, Sample
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting_plan, "BYTES_PER_UNIT", (1000, 1000))


def lines(count: int, seed: int = 0) -> list[str]:
    words = [word for text in TEXTS for word in text.split()]
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(1, 9))) for _ in range(count)]


def write(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def run(model: Path, pattern: Path | str, out: Path, **options: Any) -> CountResult:
    return count_files(model, "de", [str(pattern)], out, **{"engine": "process", **options})


def plain(counts: LanguageCounts, source: bool = True) -> dict[str, Any]:
    return {
        "ids": counts.ids.tolist(),
        "counts": counts.counts.tolist(),
        "numbers": (counts.texts, counts.characters, counts.bytes, counts.seen_once),
        "source": counts.source if source else None,
        "held": counts.held_out_texts,
    }


def expected(model: Path, texts: list[str]) -> dict[str, Any]:
    """Every line tokenised on its own."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    kept = [text for text in texts if not is_held_out(text, HELD_OUT_SHARE)]
    sample = Sample()
    for text in texts:
        if is_held_out(text, HELD_OUT_SHARE):
            sample.add(text)
    counted = Counter(
        token for text in kept for token in tokenizer.encode(text, add_special_tokens=False).ids
    )
    return {
        "ids": sorted(counted),
        "counts": [counted[token] for token in sorted(counted)],
        "numbers": (
            len(kept),
            sum(map(len, kept)),
            sum(len(text.encode()) for text in kept),
            sum(count == 1 for count in counted.values()),
        ),
        "source": None,
        "held": sample.texts(),
    }


def test_one_file_gives_exactly_what_trimming_counts(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt.gz", lines(300))
    counted = run(model, path, tmp_path / "c.npz").languages["deu-Latn"]
    trimmed = count_corpus(open_model(model).vocabulary, [path])
    assert plain(counted) == plain(trimmed)
    assert {**plain(counted), "source": None} == expected(model, lines(300))
    assert len(counted.held_out_texts or ()) > 3


def test_the_file_holds_what_the_result_says(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", lines(200))
    result = run(model, path, tmp_path / "c.npz")
    loaded = load_counts(tmp_path / "c.npz")
    assert loaded.tokenizer_sha256 == open_model(model).vocabulary.sha256
    assert loaded.vocab_size == open_model(model).vocabulary.size
    assert plain(loaded.languages["deu-Latn"]) == plain(result.languages["deu-Latn"])
    figures = result.as_dict()
    assert figures["languages"]["deu-Latn"]["tokens"] == result.languages["deu-Latn"].tokens
    assert figures["bytes_counted"] == result.languages["deu-Latn"].bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "c.npz"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_split_changes_anything(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    texts = lines(120)
    cuts = sorted(data.draw(st.lists(st.integers(0, 120), max_size=6)))
    order = data.draw(st.permutations(range(len(cuts) + 1)))
    corpus = tmp_path / "corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    suffixes = data.draw(st.lists(st.sampled_from(["txt", "txt.gz"]), min_size=7, max_size=7))
    for name, (begin, end) in zip(order, zip([0, *cuts], [*cuts, 120], strict=True), strict=True):
        write(corpus / f"{name}.{suffixes[name]}", texts[begin:end])
    size = data.draw(st.sampled_from([500, 3000, 1 << 27]))
    monkeypatch.setattr(counting_plan, "BYTES_PER_UNIT", (size, size))
    result = run(model, corpus, tmp_path / "c.npz", overwrite=True)
    assert plain(result.languages["deu-Latn"], source=False) == expected(model, texts)


def test_several_languages_in_one_file(model: Path, tmp_path: Path) -> None:
    write(tmp_path / "de.txt", lines(50, seed=1))
    write(tmp_path / "en.txt", lines(60, seed=2))
    result = count_files(
        model,
        "de,en",
        [f"de={tmp_path / 'de.txt'}", f"en={tmp_path / 'en.txt'}"],
        tmp_path / "c.npz",
        engine="process",
    )
    for code, count, seed in (("deu-Latn", 50, 1), ("eng-Latn", 60, 2)):
        assert plain(result.languages[code], source=False) == expected(model, lines(count, seed))


def test_all_cores_count_the_same(model: Path, tmp_path: Path, small_units: None) -> None:
    for number in range(4):
        write(tmp_path / "corpus" / f"{number}.txt", lines(40, seed=number))
    one = run(model, tmp_path / "corpus", tmp_path / "one.npz")
    two = run(model, tmp_path / "corpus", tmp_path / "two.npz", engine="cores", workers=2)
    assert one.units == two.units > 4
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


class Interruption(Exception):
    """Stands for a kill."""


def interrupted_after(parts: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the next count stop after some parts; what it returns undoes that."""
    put, done = Parts.put, 0

    def counting_put(self: Parts, unit: Any, packed: bytes) -> None:
        nonlocal done
        if done == parts:
            raise Interruption
        put(self, unit, packed)
        done += 1

    monkeypatch.setattr(Parts, "put", counting_put)
    return lambda: monkeypatch.setattr(Parts, "put", put)


@pytest.mark.parametrize("finished", [1, 3])
def test_an_interrupted_count_goes_on(
    model: Path, tmp_path: Path, small_units: None, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    path = write(tmp_path / "a.txt", lines(200))
    never = run(model, path, tmp_path / "never.npz")
    undo = interrupted_after(finished, monkeypatch)
    with pytest.raises(Interruption):
        run(model, path, tmp_path / "c.npz")
    assert not (tmp_path / "c.npz").exists()
    undo()
    again = run(model, path, tmp_path / "c.npz")
    assert (again.units_kept, again.units) == (finished, never.units)
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "never.npz").read_bytes()
    assert not (tmp_path / "c.npz.parts").exists()


def test_parts_that_are_damaged_or_of_changed_files_are_counted_again(
    model: Path, tmp_path: Path, small_units: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus"
    for number in range(3):
        write(corpus / f"{number}.txt.gz", lines(60, seed=number))
    undo = interrupted_after(2, monkeypatch)
    with pytest.raises(Interruption):
        run(model, corpus, tmp_path / "c.npz")
    undo()
    parts = sorted((tmp_path / "c.npz.parts").glob("*.npz"))
    parts[0].write_bytes(parts[0].read_bytes()[:100])
    assert run(model, corpus, tmp_path / "c.npz").units_kept == 1
    undo = interrupted_after(2, monkeypatch)
    with pytest.raises(Interruption):
        run(model, corpus, tmp_path / "d.npz")
    undo()
    write(corpus / "0.txt.gz", lines(90, seed=9))
    assert run(model, corpus, tmp_path / "d.npz").units_kept == 1
    fresh = run(model, corpus, tmp_path / "e.npz")
    assert (tmp_path / "d.npz").read_bytes() == (tmp_path / "e.npz").read_bytes()
    assert fresh.units_kept == 0


def test_another_job_in_the_directory_is_refused(
    model: Path, tmp_path: Path, small_units: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.txt", lines(100))
    undo = interrupted_after(1, monkeypatch)
    with pytest.raises(Interruption):
        run(model, path, tmp_path / "c.npz")
    undo()
    with pytest.raises(
        InputError,
        match=r"c\.npz\.parts: holds what .* another kind .*readings\.deu-Latn\.sample was 1\.0, now it is 0\.5",
    ):
        run(model, path, tmp_path / "c.npz", reading=Reading(sample=0.5))
    with pytest.raises(InputError, match="deduplicate was False, now it is True"):
        run(model, path, tmp_path / "c.npz", deduplicate=True)
    job = tmp_path / "c.npz.parts" / "job.json"
    told = json.loads(job.read_text())
    job.write_text(json.dumps({**told, "tokenizer_sha256": "ab"}))
    with pytest.raises(InputError, match="tokenizer_sha256 was 'ab', now it is '"):
        run(model, path, tmp_path / "c.npz")
    for content in ("[]", "{", "[" * 100_000):
        job.write_text(content)
        with pytest.raises(InputError, match="was not left by an interrupted count"):
            run(model, path, tmp_path / "c.npz")


def test_a_damaged_shard_costs_itself_only(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "corpus"
    for number in range(3):
        write(corpus / f"{number}.txt.gz", lines(20_000, seed=number))
    whole = (corpus / "1.txt.gz").read_bytes()
    (corpus / "1.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolycompressError, match=r"1\.txt\.gz: .* after \d+ unpacked bytes") as caught:
        run(model, corpus, tmp_path / "c.npz")
    assert caught.value.exit_code == 1
    assert f"{len(whole) // 2:,} bytes, with " in str(caught.value)
    assert "add --skip-bad" in str(caught.value)
    assert not (tmp_path / "c.npz").exists()
    skipped = run(model, corpus, tmp_path / "c.npz", skip_bad=True)
    assert (skipped.units_kept, skipped.units) == (1, 1)
    (damage,) = skipped.damaged
    assert damage.shard == str(corpus / "1.txt.gz")
    assert damage.position.startswith("byte ")
    assert damage.texts_read > 0
    others = lines(20_000, seed=0) + lines(20_000, seed=2)
    assert plain(skipped.languages["deu-Latn"], source=False) == expected(model, others)
    assert "unit" not in load_counts(tmp_path / "c.npz").languages["deu-Latn"].source


def test_a_mended_shard_is_counted_and_the_others_are_not_counted_again(
    model: Path, tmp_path: Path, small_units: None
) -> None:
    corpus = tmp_path / "corpus"
    for number in range(3):
        write(corpus / f"{number}.txt.gz", lines(100, seed=number))
    whole = (corpus / "1.txt.gz").read_bytes()
    (corpus / "1.txt.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PolycompressError, match=r"1\.txt\.gz"):
        run(model, corpus, tmp_path / "c.npz")
    (corpus / "1.txt.gz").write_bytes(whole)
    mended = run(model, corpus, tmp_path / "c.npz")
    assert (mended.units_kept, mended.units) == (2, 3)
    everything = [text for number in range(3) for text in lines(100, seed=number)]
    assert plain(mended.languages["deu-Latn"], source=False) == expected(model, everything)


def test_a_damaged_shard_that_is_removed_costs_nothing_more(model: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for number in range(3):
        write(corpus / f"{number}.txt.gz", lines(100, seed=number))
    (corpus / "1.txt.gz").write_bytes((corpus / "1.txt.gz").read_bytes()[:-20])
    with pytest.raises(PolycompressError, match=r"1\.txt\.gz"):
        run(model, corpus, tmp_path / "c.npz")
    (corpus / "1.txt.gz").unlink()
    result = run(model, corpus, tmp_path / "c.npz")
    assert (result.units_kept, result.units, result.bytes_counted) == (1, 1, 0)
    others = lines(100, seed=0) + lines(100, seed=2)
    assert plain(result.languages["deu-Latn"], source=False) == expected(model, others)


@pytest.mark.parametrize("engine", ["process", "cores"])
def test_files_that_cannot_be_read_are_refused_at_once(
    model: Path, tmp_path: Path, engine: str, small_units: None
) -> None:
    write(tmp_path / "a" / "good.txt", lines(50))
    (tmp_path / "a" / "picture.txt").write_bytes(b"\x89PNG\0\0\0\0" * 100)
    with pytest.raises(InputError, match=r"picture\.txt: byte 4 is zero"):
        run(model, tmp_path / "a", tmp_path / "c.npz", engine=engine)
    (tmp_path / "b.jsonl").write_text('{"id": 1, "body": "Hallo"}\n' * 90, encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.jsonl: .*'text'.*id.*body") as caught:
        run(model, tmp_path / "b.jsonl", tmp_path / "d.npz", engine=engine)
    assert type(caught.value) is InputError
    assert not (tmp_path / "d.npz.parts").exists()


def test_only_the_first_of_equal_texts_counts(model: Path, tmp_path: Path, small_units: None) -> None:
    texts = lines(60)
    write(tmp_path / "corpus" / "0.txt", texts + texts[:20])
    write(tmp_path / "corpus" / "1.txt.gz", texts[30:] + lines(30, seed=5))
    result = run(model, tmp_path / "corpus", tmp_path / "c.npz", deduplicate=True)
    unique = list(dict.fromkeys(texts + lines(30, seed=5)))
    assert plain(result.languages["deu-Latn"], source=False) == expected(model, unique)
    assert result.dropped == {"duplicate": 140 - len(unique)}
    two = run(model, tmp_path / "corpus", tmp_path / "d.npz", deduplicate=True, engine="cores", workers=2)
    assert two.units > 1
    assert (tmp_path / "c.npz").read_bytes() == (tmp_path / "d.npz").read_bytes()


def test_a_reading_is_applied_and_recorded(model: Path, tmp_path: Path) -> None:
    texts = lines(400)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts), encoding="utf-8")
    result = run(model, path, tmp_path / "c.npz", reading=Reading(field="body", sample=0.5, seed=3))
    counted = result.languages["deu-Latn"]
    assert 120 < counted.texts < 260
    assert result.dropped == {"sample": 400 - counted.texts - len(counted.held_out_texts or ())}
    assert counted.source["reading"]["field"] == "body"
    assert counted.source["dropped"] == result.dropped


def test_progress_ends_at_the_size_of_the_files(model: Path, tmp_path: Path, small_units: None) -> None:
    path = write(tmp_path / "a.txt", lines(300))
    calls: list[tuple[str, int, int | None]] = []
    run(model, path, tmp_path / "c.npz", progress=lambda *call: calls.append(call))
    assert sum(amount for _, amount, _ in calls) == path.stat().st_size
    assert {total for _, _, total in calls} == {path.stat().st_size}


@pytest.mark.parametrize(
    ("langs", "corpus", "options", "message"),
    [
        ("de,fr", ["de={a}"], {}, r"French \(fra-Latn\) has no corpus. Add --corpus fra-Latn="),
        ("de", ["{a}"], {"engine": "spark"}, "Unknown engine 'spark'. There are process, cores, ray"),
        ("de", ["{a}"], {"workers": 0, "engine": "cores"}, "0 workers cannot count"),
        ("de", ["{a}"], {"workers": 2}, "'process' is one process"),
        ("de", ["{a}"], {"address": "x:1"}, "'process' knows no address. Add --engine ray"),
        ("de", ["{a}"], {"out": "a.txt"}, r"a\.txt: already exists"),
        ("de", ["{a}"], {"out": "."}, "is a directory. Name a file"),
        ("de", ["{a}"], {"out": "no/c.npz"}, "there is no directory"),
        ("de", ["{empty}"], {}, r"deu-Latn: no text in .*empty\.txt"),
    ],
)
def test_impossible_requests_are_refused_and_leave_nothing(
    model: Path, tmp_path: Path, langs: str, corpus: list[str], options: dict[str, Any], message: str
) -> None:
    write(tmp_path / "a.txt", lines(30))
    (tmp_path / "empty.txt").write_text(" \n\n")
    names = {"a": tmp_path / "a.txt", "empty": tmp_path / "empty.txt"}
    out = tmp_path / options.pop("out", "c.npz")
    with pytest.raises(InputError, match=message):
        count_files(
            model, langs, [part.format(**names) for part in corpus], out, **{"engine": "process", **options}
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "empty.txt"]


def test_a_worker_that_dies_is_told(
    model: Path, tmp_path: Path, small_units: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polycompress.pipelines.counting import engines as counting_engines

    write(tmp_path / "a.txt", lines(200))
    monkeypatch.setattr(counting_engines, "_work", _die)
    with pytest.raises(PolycompressError, match=r"A process that counts died; .* fewer --workers"):
        run(model, tmp_path / "a.txt", tmp_path / "c.npz", engine="cores", workers=2)
    assert not (tmp_path / "c.npz").exists()


def _die(_: object) -> None:
    import os

    os._exit(9)


UNGUARDED = """
from pathlib import Path
import sys
from polycompress.pipelines.count import count_files
from polycompress.pipelines.counting import plan
plan.BYTES_PER_UNIT = (1000, 1000)
count_files(sys.argv[1], "de", [sys.argv[2]], Path(sys.argv[3]), engine="cores", workers=2)
"""


def test_a_worker_that_dies_before_it_begins_is_told(model: Path, tmp_path: Path) -> None:
    """A script without the guard that multiprocessing asks for: its workers run into it themselves, and die."""
    large = tmp_path / "model"
    shutil.copytree(model, large)
    with (large / "tokenizer.json").open("ab") as file:
        file.write(b" " * (1 << 20))  # a pipe holds less
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED)
    command = [script, large, write(tmp_path / "a.txt", lines(200)), tmp_path / "c.npz"]
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "PolycompressError: A process that counts died;" in done.stderr
    assert not (tmp_path / "c.npz").exists()


def test_a_tokenizer_that_changes_before_a_worker_reads_it_is_refused(
    model: Path, tmp_path: Path, small_units: None
) -> None:
    large = tmp_path / "model"
    shutil.copytree(model, large)
    file = read_tokenizer(resolve_model(large))
    with (large / "tokenizer.json").open("ab") as appended:
        appended.write(b" ")
    job = Job(number=0, unit=Unit(code="deu-Latn", shards=(), reading=Reading(), skipped=()), skip=())
    with (
        closing(CoresEngine(file, 2)) as engine,
        pytest.raises(InputError, match=r"tokenizer\.json: has changed since .* Run the command again"),
    ):
        list(engine.run([job, job], None))


def test_the_largest_counts_are_exact(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", ["Hund und Katze"] * 3000)
    counts = run(model, path, tmp_path / "c.npz").languages["deu-Latn"]
    assert counts.texts == 3000
    assert np.array_equal(counts.counts % 3000, np.zeros(len(counts.ids)))
    logging.getLogger("polycompress").debug("counted")
