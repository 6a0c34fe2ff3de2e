"""Load time and private memory of a model, each time in a process of its own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import polycompress
from polycompress.errors import InputError, PolycompressError
from polycompress.evaluation.speed import Precision
from polycompress.evaluation.speed_memory import Memory, anonymous_mib, can_measure, mapped_mib
from polycompress.modeldir.exported import is_exported

_LOOK_EVERY_SECONDS: Final = 0.002
_ERROR_LINES: Final = 5
_STAGES: Final = ("libraries", "loaded", "run")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loading:
    """One process: importing the libraries, loading a model, running it on one batch."""

    libraries_seconds: float
    model_seconds: float
    tokenizer_seconds: float | None
    """None where the directory has no ``tokenizer.json``."""
    memory: Memory | None
    """None where the system does not tell."""

    @property
    def seconds(self) -> float:
        """Until the first text can be taken, the libraries already being there."""
        return self.model_seconds + (self.tokenizer_seconds or 0.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = asdict(self)
        if self.memory is not None:
            plain["memory"]["model_mib"] = self.memory.model_mib
        return {**plain, "seconds": self.seconds}


@dataclass(slots=True)
class _Watched:
    """The memory of a process, looked at again and again."""

    process: int
    now_mib: float = 0.0
    peak_mib: float = 0.0

    def look(self) -> None:
        self.now_mib = anonymous_mib(self.process)
        self.peak_mib = max(self.peak_mib, self.now_mib)


def measure_loading(
    path: Path,
    *,
    precision: Precision,
    device: str,
    threads: int,
    batch: int,
    length: int,
    body: bool = False,
) -> Loading:
    """Load a model in a fresh process and run it.

    Args:
        path: Its directory.
        precision: Of its weights.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: That torch may use.
        batch: Texts of the batch that it is run on.
        length: Their tokens.
        body: Without its head.

    Raises:
        InputError: The model cannot be loaded or run.
        PolycompressError: The process died.
    """
    request = {
        "path": str(path.resolve()), "precision": precision, "device": device, "threads": threads,
        "batch": batch, "length": length, "body": body, "exported": is_exported(path),
    }  # fmt: skip
    with tempfile.TemporaryFile() as complaints:
        child = _start(request, complaints)
        try:
            return _watch(child, path, complaints)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()


def _start(request: Mapping[str, Any], complaints: IO[bytes]) -> subprocess.Popen[bytes]:
    package = Path(polycompress.__file__).resolve().parent.parent
    given = os.environ.get("PYTHONPATH")
    # -P: modules that lie in the working directory are not taken for libraries.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "polycompress.evaluation.speed_child", json.dumps(request)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(package), *([given] if given else [])]),
            "OMP_NUM_THREADS": str(request["threads"]),
            "HF_HUB_OFFLINE": "1",
        },
    )


def _watch(child: subprocess.Popen[bytes], path: Path, complaints: IO[bytes]) -> Loading:
    watched = _Watched(child.pid)
    at: dict[str, float] = {}
    found: dict[str, Any] = {}
    mapped = 0.0
    for stage in _STAGES:
        said = _next_line(child, watched)
        if said is None:
            raise _died(child, path, complaints)
        if "error" in said:
            raise (InputError if said["input"] else PolycompressError)(str(said["error"]))
        watched.look()
        at[stage] = watched.now_mib
        if stage == "run":
            mapped = mapped_mib(child.pid, path)
        found[stage] = said
        _answer(child)
    memory = Memory(
        peak_mib=watched.peak_mib + mapped,
        loaded_mib=at["loaded"] + mapped,
        libraries_mib=at["libraries"],
        mapped_mib=mapped,
        accelerator_mib=found["run"]["accelerator_mib"],
    )
    return Loading(
        libraries_seconds=found["libraries"]["seconds"],
        model_seconds=found["loaded"]["model_seconds"],
        tokenizer_seconds=found["loaded"]["tokenizer_seconds"],
        memory=memory if can_measure() else None,
    )


def _next_line(child: subprocess.Popen[bytes], watched: _Watched) -> dict[str, Any] | None:
    """What the process says next, its memory being watched until then; None where it ended."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while not ready.select(_LOOK_EVERY_SECONDS):
            watched.look()
    line = child.stdout.readline()
    said: dict[str, Any] | None = json.loads(line) if line else None
    return said


def _answer(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    child.stdin.write(b"\n")
    child.stdin.flush()


def _died(child: subprocess.Popen[bytes], path: Path, complaints: IO[bytes]) -> PolycompressError:
    code = child.wait()
    if code == -signal.SIGKILL:
        return PolycompressError(
            f"{path}: the process that loaded it was killed by the system, most likely for want of memory. "
            "Give a smaller --batch or --length, or measure where there is more."
        )
    complaints.seek(0)
    last = complaints.read()[-4000:].decode("utf-8", "replace").strip().splitlines()[-_ERROR_LINES:]
    return PolycompressError(f"{path}: the process that loaded it ended with {code}: {' / '.join(last)}")
