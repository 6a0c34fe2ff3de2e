"""Count with Ray Data: on a Ray of this machine that is started for it, or on a cluster that is there."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import polycompress
from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.pipelines.counting.units import (
    Job,
    Outcome,
    Report,
    TokenizerFile,
    do_job,
    open_tokenizer,
)

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 4.0
ANSWER_SECONDS: Final = 16.0
"""An address that accepts connections must also join us to a cluster in so many seconds."""
OBJECT_STORE_BYTES: Final = 1 << 29
"""Of a local Ray: outcomes are a few megabytes each."""
_JOIN: Final = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="ERROR", log_to_driver=False)
ray.shutdown()
"""

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What Ray would otherwise send, write to stderr, or warn of."""
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")

_T = TypeVar("_T")
_R = TypeVar("_R")


class RayEngine:
    """Actors that Ray Data feeds with units of work, one core each."""

    def __init__(self, file: TokenizerFile, workers: int | None, address: str | None) -> None:
        """Start a local Ray or join a cluster.

        Raises:
            MissingExtraError: Ray is not installed.
            InputError: The address does not answer.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        ray = _import_ray()
        self._file = file
        self._started = False
        if not ray.is_initialized():
            if address is not None:
                check_address(address)
            self._start(workers, address)
        available = int(ray.cluster_resources().get("CPU", 1))
        self.workers = max(1, min(workers or available, available))

    def run(self, jobs: Iterable[Job], report: Report | None) -> Iterator[Outcome]:
        """As actors become free; ``report`` is not called."""
        ray = _import_ray()
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        numbered = list(jobs)
        if not numbered:
            return
        references = [ray.put(job) for job in numbered]
        rows = ray.data.from_items(
            [{"row": row} for row in range(len(numbered))], override_num_blocks=len(numbered)
        )
        counted = rows.map(
            RayCounter,
            fn_constructor_args=(ray.put(self._file), references),
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(numbered))),
            num_cpus=1,
        )
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # Ray reports what went wrong on stdout
                for row in counted.iter_rows():
                    yield _outcome(row)
        except ray.exceptions.RayError as error:
            raise PolycompressError(
                f"Ray failed: {_first_line(error)} What is finished is kept: run the same command again."
            ) from error

    def map(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        """In this process: it alone is sure to see the directory that such work is written to."""
        return map(function, items)

    def close(self) -> None:
        """Leave Ray, and end it where it was started for this."""
        if self._started:
            _import_ray().shutdown()

    def _start(self, workers: int | None, address: str | None) -> None:
        local: dict[str, Any] = {
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "runtime_env": {"env_vars": {"PYTHONPATH": _python_path()}},
        }
        try:
            _import_ray().init(
                address=address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                **(local if address is None else {}),
            )
        except Exception as error:  # of many kinds
            where = "A local Ray" if address is None else f"The Ray cluster at {address!r}"
            raise InputError(f"{where} cannot be used: {_first_line(error)}") from error
        self._started = True


class RayCounter:
    """An actor: it opens the tokenizer once and counts the jobs whose rows it is given."""

    def __init__(self, file: Any, jobs: list[Any]) -> None:
        from polycompress.pipelines.counting.engines import one_thread

        one_thread()
        self._opened = open_tokenizer(_import_ray().get(file))
        self._jobs = jobs

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Count one job."""
        job = _import_ray().get(self._jobs[int(row["row"])])
        return dataclasses.asdict(do_job(self._opened, job))


def _outcome(row: Mapping[str, Any]) -> Outcome:
    return Outcome(
        number=int(row["number"]),
        packed=bytes(row["packed"]),
        bytes=int(row["bytes"]),
        failure=str(row["failure"]),
        failure_is_input=bool(row["failure_is_input"]),
    )


def check_address(address: str) -> None:
    """Refuse an address where no Ray answers, in half a minute at most.

    Raises:
        InputError: Nothing answers, or something that is no Ray.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address != "auto":
        try:
            number = int(port)
            socket.create_connection((host.strip("[]"), number), CONNECT_SECONDS).close()
        except ValueError:
            raise InputError(
                f"--address {address!r} is no address of a Ray cluster. Write HOST:PORT (ray status shows it), or auto."
            ) from None
        except OSError as error:
            raise InputError(
                f"--address {address!r}: nothing answers ({error}). Check the address and that the cluster runs; "
                "without --address a local Ray starts by itself."
            ) from error
    # Joining has no time limit of its own, so it is tried in a process that can be ended.
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _JOIN, address],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"--address {address!r}: what is there did not answer as a Ray cluster in {ANSWER_SECONDS:g} s. "
            "Check the address and the port (ray status shows it)."
        ) from None
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
        raise InputError(f"--address {address!r}: the cluster cannot be joined: {last}")


def _import_ray() -> Any:
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError("Counting on Ray", "ray") from None


def _python_path() -> str:
    """Where workers on this machine find this package, installed or not."""
    root = str(Path(polycompress.__file__).resolve().parent.parent)
    return os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)


def _first_line(error: Exception) -> str:
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
