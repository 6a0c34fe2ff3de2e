"""Killed at any moment: the output is absent or whole, and the next run sweeps what was left."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import environment, tree
from tests.tiny_models import make_tiny

pytestmark = pytest.mark.integration

# Every call by which the program touches its output takes a little longer, so that moments differ.
SLOWED = """
import functools, os, sys, time
from pathlib import Path
def slow(call):
    @functools.wraps(call)
    def slowed(*arguments, **options):
        time.sleep(0.01)
        return call(*arguments, **options)
    return slowed
for name in ("fsync", "write", "rename", "replace", "rmdir", "unlink", "mkdir", "copy_file_range", "preadv"):
    setattr(os, name, slow(getattr(os, name)))
Path.write_bytes, Path.write_text = slow(Path.write_bytes), slow(Path.write_text)
from polycompress.cli import main
from polycompress.modeldir import atomic
atomic._rename = slow(atomic._rename)
print("ready", flush=True)
main.main()
"""
CORPUS = "Der Fuchs springt über den faulen Hund.\nHeute ist das Wetter schön.\n" * 50
OLD, NEW = "150", "180"


class Kitchen:
    """A model, a corpus, a directory to write to, and what the results look like when nothing goes wrong."""

    def __init__(self, root: Path) -> None:
        self.source = make_tiny("xlm-roberta", "mlm", root / "tiny", vocab_size=400)
        self.corpus = root / "de.txt"
        self.corpus.write_text(CORPUS, encoding="utf-8")
        self.whole: dict[str, dict[str, bytes]] = {}
        self.seconds = 0.0
        for size in (OLD, NEW):
            self.finish(size, root / size)
            self.whole[size] = lasting(root / size)

    def start(self, size: str, out: Path, *options: str) -> subprocess.Popen[str]:
        """Begin to trim, and wait until the program proper begins."""
        process = subprocess.Popen(
            [sys.executable, "-c", SLOWED, "trim", self.source, "--langs", "de", "--corpus", self.corpus,
             "--no-frequencies", "--size", size, "--out", out, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def finish(self, size: str, out: Path, *options: str) -> None:
        """Trim undisturbed, and remember how long it took."""
        process = self.start(size, out, *options)
        started = time.monotonic()
        _, err = process.communicate(timeout=60)
        self.seconds = time.monotonic() - started
        assert process.returncode == 0, err

    def strike(self, size: str, out: Path, number: int, moment: float, *options: str) -> int:
        """Begin to trim and send a signal after so much of the time that it takes; how it ended."""
        process = self.start(size, out, *options)
        time.sleep(0.02 + moment * self.seconds)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return process.returncode


def lasting(out: Path) -> dict[str, bytes]:
    """What every run writes alike: all files, but of the manifest and the card only that they are whole."""
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    manifest = json.loads(files.pop("polycompress.json"))
    assert manifest["certificate"]["passed"] is True
    assert len(files.pop("README.md")) > 1000
    return files


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def moments(seed: int, count: int) -> list[float]:
    """Shares of a run, one from each of so many equal stretches, the later part of the run taken oftener."""
    chance = random.Random(seed)
    return [((step + chance.random()) / count) ** 0.7 for step in range(count)]


def test_kill_leaves_nothing_or_the_whole(kitchen: Kitchen, desk: Path) -> None:
    out = desk / "new" / "out"
    unfinished = 0
    for number, moment in enumerate((*moments(1, 7), *moments(4, 14), *moments(5, 28))):
        if number >= 7 and unfinished:
            break  # more than seven only where a busy machine's runs last so unevenly that none was writing
        assert kitchen.strike(NEW, out, signal.SIGKILL, moment) in (-signal.SIGKILL, 0)
        unfinished += any(".out.polycompress-" in name for name in tree(desk))
        if out.exists():
            assert lasting(out) == kitchen.whole[NEW]
            for path in (*out.iterdir(), out):
                path.rmdir() if path.is_dir() else path.unlink()
    assert unfinished, "some kill should have come while it was writing"
    kitchen.finish(NEW, out)
    assert [path.name for path in out.parent.iterdir()] == ["out"], "what was left was swept"
    assert lasting(out) == kitchen.whole[NEW]


@pytest.mark.parametrize(
    ("number", "code", "count"),
    [(signal.SIGTERM, 143, 5), (signal.SIGINT, 130, 3)],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_leaves_nothing_or_the_whole(
    kitchen: Kitchen, desk: Path, number: int, code: int, count: int
) -> None:
    codes = set()
    for index, moment in enumerate(moments(number, count)):
        place = desk / str(index)
        place.mkdir()
        codes.add(kitchen.strike(NEW, place / "new" / "out", number, moment * 0.8))
        if (place / "new" / "out").exists():
            assert lasting(place / "new" / "out") == kitchen.whole[NEW]
            assert [path.name for path in (place / "new").iterdir()] == ["out"]
        else:
            assert tree(place) == []
    assert code in codes
    assert codes <= {code, 0}


def test_kill_while_replacing_leaves_the_old_or_the_new(kitchen: Kitchen, desk: Path) -> None:
    out = desk / "out"
    kitchen.finish(OLD, out)
    for size, moment in zip((NEW, OLD) * 4, moments(3, 8), strict=True):
        assert kitchen.strike(size, out, signal.SIGKILL, moment, "--overwrite") in (-signal.SIGKILL, 0)
        assert lasting(out) in kitchen.whole.values()
    kitchen.finish(NEW, out, "--overwrite")
    assert lasting(out) == kitchen.whole[NEW]
    assert [path.name for path in desk.iterdir()] == ["out"]


def test_a_second_signal_does_not_hide_the_first(kitchen: Kitchen, desk: Path) -> None:
    process = kitchen.start(NEW, desk / "out")
    time.sleep(0.02 + 0.6 * kitchen.seconds)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    # Killed by the signal itself while the interpreter ends: the same 143 to a shell.
    assert process.returncode in (143, -signal.SIGTERM, 0)
    assert "Traceback" not in err
    kitchen.finish(NEW, desk / "other")
    assert not [path.name for path in desk.iterdir() if path.name.startswith(".")], "swept at the latest now"
