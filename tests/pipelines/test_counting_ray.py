"""Ray counts what this process counts; an address where no Ray answers is refused in time."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polycompress.errors import InputError, MissingExtraError
from polycompress.pipelines.count import count_files
from polycompress.pipelines.counting import plan as counting_plan
from polycompress.pipelines.counting import ray_data as counting_ray
from polycompress.pipelines.counting.ray_data import ANSWER_SECONDS, CONNECT_SECONDS, check_address
from tests.command_line import environment
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=400)


def corpus_in(folder: Path) -> Path:
    folder.mkdir()
    for number in range(4):
        texts = [f"{text} {number}" for text in TEXTS * (number + 1)]
        (folder / f"{number}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_ray_counts_the_same_and_starts_and_ends_by_itself(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    monkeypatch.setattr(counting_plan, "BYTES_PER_UNIT", (1000, 1000))
    corpus = corpus_in(tmp_path / "corpus")
    done = count_files(model, "de", [str(corpus)], tmp_path / "one.npz", engine="process")
    # In a process of its own: Ray leaves threads and warnings behind.
    code = (
        "import sys; from pathlib import Path\n"
        "from polycompress.pipelines.counting import plan as counting_plan\n"
        "counting_plan.BYTES_PER_UNIT = (1000, 1000)\n"
        "from polycompress.pipelines.count import count_files\n"
        "result = count_files(sys.argv[1], 'de', [sys.argv[2]], Path(sys.argv[3]), engine='ray', workers=1,\n"
        "                     deduplicate=len(sys.argv) > 4)\n"
        "import ray\n"
        "print(result.units, result.workers, ray.is_initialized())\n"
    )
    arguments = [sys.executable, "-c", code, str(model), str(corpus), str(tmp_path / "two.npz")]
    ended = subprocess.run(
        arguments, capture_output=True, text=True, env=environment(), timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(done.units), "1", "False"]
    assert done.units > 2
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert ray is not None


@pytest.mark.parametrize("address", ["nonsense", "host:port", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"is no address of a Ray cluster. Write HOST:PORT"):
        check_address(address)


def test_a_port_that_nobody_listens_at_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(InputError, match=f"--address '127.0.0.1:{port}': nothing answers"):
        check_address(f"127.0.0.1:{port}")


def test_something_else_that_listens_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    assert CONNECT_SECONDS + ANSWER_SECONDS <= 25
    monkeypatch.setattr(counting_ray, "ANSWER_SECONDS", 4.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(InputError, match=r"did not answer as a Ray cluster|cannot be joined"):
            check_address(f"127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 15


def test_without_ray_the_extra_is_named(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_in(tmp_path / "corpus")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError, match=r"Counting on Ray needs .*polycompress\[ray\]"):
        count_files(model, "de", [str(corpus)], tmp_path / "c.npz", engine="ray")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]
