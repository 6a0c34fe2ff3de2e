from __future__ import annotations

import mmap
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from polycompress.errors import InputError, PolycompressError
from polycompress.evaluation import speed_loading
from polycompress.evaluation.speed_loading import Loading, measure_loading
from polycompress.evaluation.speed_memory import Memory, anonymous_mib, can_measure, mapped_mib
from tests.tiny_models import make_tiny

needs_accounts = pytest.mark.skipif(not can_measure(), reason="this system has no /proc/PID/status")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "sequence", tmp_path_factory.mktemp("tiny") / "model")


def load(path: Path, batch: int = 2, length: int = 16) -> Loading:
    return measure_loading(path, precision="fp32", device="cpu", threads=1, batch=batch, length=length)


def test_a_fresh_process_tells_times_and_memory(tiny: Path) -> None:
    found = load(tiny)
    assert 0 < found.model_seconds < found.libraries_seconds
    assert found.tokenizer_seconds is not None
    assert found.seconds == found.model_seconds + found.tokenizer_seconds
    plain = found.as_dict()
    assert plain["seconds"] == found.seconds
    if can_measure():
        assert found.memory is not None
        memory = found.memory
        assert 20 < memory.libraries_mib <= memory.loaded_mib <= memory.peak_mib < 4000
        assert plain["memory"]["model_mib"] == memory.model_mib == memory.peak_mib - memory.libraries_mib


@pytest.mark.slow
@needs_accounts
def test_a_larger_model_takes_as_much_more_memory(tiny: Path, tmp_path: Path) -> None:
    large = make_tiny("xlm-roberta", "sequence", tmp_path / "large", padding_rows=1_000_000)
    table = 1_000_000 * 16 * 4 / 2**20
    small_memory, large_memory = load(tiny).memory, load(large).memory
    assert small_memory is not None
    assert large_memory is not None
    assert large_memory.loaded_mib - small_memory.loaded_mib == pytest.approx(table, abs=0.3 * table)
    assert large_memory.model_mib - small_memory.model_mib >= 0.9 * table


def test_a_directory_without_a_tokenizer(tiny: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    found = load(bare)
    assert found.tokenizer_seconds is None
    assert found.seconds == found.model_seconds


def test_a_refusal_comes_through(tiny: Path) -> None:
    with pytest.raises(InputError, match="takes at most 70 tokens, not 71"):
        load(tiny, length=71)


def test_a_process_that_dies(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "transformers.py").write_text("raise SystemError('it broke')")
    monkeypatch.setenv("PYTHONPATH", os.fspath(blocked))
    with pytest.raises(
        PolycompressError, match=r"model: the process that loaded it ended with 1: .*it broke"
    ):
        load(tiny)
    (blocked / "transformers.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(PolycompressError, match="killed by the system, most likely for want of memory"):
        load(tiny)


def test_modules_in_the_working_directory_are_no_libraries(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemError('taken from the working directory')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert load(tiny).model_seconds > 0


def test_no_process_is_left_behind(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = speed_loading._start

    def remember(request: object, complaints: object) -> object:
        started.append(start(request, complaints))  # type: ignore[arg-type]
        return started[-1]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(speed_loading, "_start", remember)
    monkeypatch.setattr(speed_loading, "_next_line", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(tiny)
    assert started[0].returncode is not None


@needs_accounts
def test_memory_of_this_process(tmp_path: Path) -> None:
    before = anonymous_mib(os.getpid())
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        # An array might get memory that an earlier test gave back.
        for page in range(0, 64 << 20, mmap.PAGESIZE):
            held[page] = 1
        assert anonymous_mib(os.getpid()) - before == pytest.approx(64, abs=16)
    file = tmp_path / "weights"
    np.ones(4 << 20, np.uint8).tofile(file)
    assert mapped_mib(os.getpid(), tmp_path) == 0.0
    before = anonymous_mib(os.getpid())
    table = np.memmap(file, mode="r")
    assert int(table.sum()) == 4 << 20
    assert mapped_mib(os.getpid(), tmp_path) == pytest.approx(4, abs=0.1)
    assert anonymous_mib(os.getpid()) - before < 3  # pages of files are no private memory


def test_a_process_that_is_gone_has_no_memory(tmp_path: Path) -> None:
    assert anonymous_mib(2**31 - 1) == 0.0
    assert mapped_mib(2**31 - 1, tmp_path) == 0.0


def test_what_the_model_adds() -> None:
    memory = Memory(peak_mib=900.0, loaded_mib=700.0, libraries_mib=300.0, mapped_mib=0.0)
    assert memory.model_mib == 600.0
