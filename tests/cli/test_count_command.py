"""``polycompress count`` as a person meets it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from pathlib import Path

import pytest

from polycompress.vocab.counts import load_counts
from tests.command_line import invoke, refused, start
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{text} {number}\n" for number in range(20) for text in TEXTS), encoding="utf-8")
    return path


def test_a_count_is_summed_up(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.npz"
    done = invoke(capsys, "count", model, "--lang", "de", "--corpus", corpus, "--out", out)
    assert done.code == 0, done.err
    counts = load_counts(out).languages["deu-Latn"]
    for figure in (counts.texts, int(counts.tokens), counts.bytes, len(counts.ids), counts.seen_once):
        assert f" {figure:,} " in done.out
    assert "deu-Latn" in done.out
    assert "MB/s" in done.out
    assert str(out) in done.out.replace("\n", "")


def test_several_languages_and_json(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.npz"
    arguments = ["--lang", "de,en", "--corpus", f"de={corpus}", "--corpus", f"en={corpus}", "--out", str(out)]
    done = invoke(capsys, "count", model, *arguments, "--engine", "process", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert list(told["languages"]) == ["deu-Latn", "eng-Latn"]
    assert told["languages"]["deu-Latn"] == told["languages"]["eng-Latn"]
    assert told["engine"] == "process"
    table = invoke(capsys, "count", model, *arguments, "--overwrite")
    assert table.out.count("-Latn") == 2


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--lang", "xx"], "xx"),
        (["--clean", "shine"], "Unknown cleaning 'shine'"),
        (["--sample", "0"], "A sample of 0.0 is no share"),
        (["--workers", "0"], "0 workers cannot count"),
        (["--address", "a:1"], "knows no address"),
        (["--identify", "no.bin"], "no.bin"),
        (["--corpus", "nothing*.txt"], "no file matches"),
    ],
)
def test_wrong_requests_are_refused(
    model: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    message: str,
) -> None:
    arguments = ["--lang", "de", "--corpus", str(corpus), "--out", str(tmp_path / "c.npz"), *extra]
    assert message in refused(capsys, tmp_path, "count", model, *arguments)


def test_a_damaged_file_fails_at_the_end_and_is_skipped_on_request(
    model: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = gzip.compress(corpus.read_bytes() * 20)
    (tmp_path / "b.txt.gz").write_bytes(packed[: len(packed) // 2])
    arguments = ["--lang", "de", "--corpus", str(tmp_path / "*.txt*"), "--out", str(tmp_path / "c.npz")]
    failed = invoke(capsys, "count", model, *arguments)
    assert failed.code == 1
    assert "b.txt.gz: the compressed data are damaged or cut off after" in failed.err
    assert (tmp_path / "c.npz.parts" / "job.json").is_file()
    done = invoke(capsys, "count", model, *arguments, "--skip-bad", "--json")
    assert done.code == 0
    (damage,) = json.loads(done.out)["damaged"]
    assert damage["bytes"] == len(packed) // 2
    assert not (tmp_path / "c.npz.parts").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "engine"),
    [
        (signal.SIGTERM, "process"),
        (signal.SIGTERM, "cores"),
        (signal.SIGINT, "cores"),
        (signal.SIGKILL, "cores"),
    ],
)
def test_a_killed_count_goes_on(model: Path, tmp_path: Path, kill: int, engine: str) -> None:
    text = "".join(f"{text} {number}\n" for number in range(12_000) for text in TEXTS)
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n{text}", encoding="utf-8")
    arguments = ["--lang", "de", "--corpus", str(tmp_path / "*.txt"), "--engine", engine]
    arguments += ["--workers", "2"] if engine == "cores" else []
    out, parts = tmp_path / "c.npz", tmp_path / "c.npz.parts"
    killed = start("count", model, *arguments, "--out", out)
    limit = time.monotonic() + 120
    while not list(parts.glob("*.npz")) and killed.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(killed.pid, kill)
    _, err = killed.communicate(timeout=60)
    assert "Traceback" not in err
    assert killed.returncode in ({-kill} if kill == signal.SIGKILL else {128 + kill, 0})
    finished = len(list(parts.glob("*.npz"))) if parts.exists() else None
    again = start("count", model, *arguments, "--out", out, "--json", *([] if finished else ["--overwrite"]))
    told, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    if finished:
        assert json.loads(told)["units_kept"] == finished
    other = start("count", model, *arguments[:4], "--engine", "process", "--out", tmp_path / "whole.npz")
    other.communicate(timeout=120)
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not parts.exists()
