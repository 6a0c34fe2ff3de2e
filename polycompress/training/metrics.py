"""What a run measures, and where it goes: ``metrics.jsonl``, TensorBoard, a callback."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.atomic import atomic_file, storage_error

logger = logging.getLogger(__name__)

METRICS_FILE: Final = "metrics.jsonl"
MAX_METRICS_BYTES: Final = 1 << 30
_MAX_LINE: Final = 1 << 16

Record = Mapping[str, Any]
"""``step`` and what was measured since the last one: numbers, or mappings of numbers."""


class MetricSink(Protocol):
    """Where records go."""

    def log(self, record: Record) -> None:
        """Take a record."""

    def close(self) -> None:
        """No more will come."""


class JsonLines:
    """``metrics.jsonl``: one object a line, each on the disk's way before the next step begins."""

    def __init__(self, path: Path, *, after_step: int = 0) -> None:
        """Open the file.

        Args:
            path: Made if missing.
            after_step: Lines of later steps, which a run that goes on will write again, are left out; so is a last line
                that was not finished.

        Raises:
            StorageError: The disk refused.
        """
        self._path = path
        try:
            if path.exists():
                kept = [line for line, record in _lines(path) if record["step"] <= after_step]
                with atomic_file(path, "w") as file:
                    file.writelines(line + "\n" for line in kept)
            self._file: IO[str] | None = path.open("a", encoding="utf-8")
        except OSError as error:
            raise storage_error(error, path) from error

    def log(self, record: Record) -> None:
        """Append a line; numbers that JSON does not have become null.

        Raises:
            StorageError: The disk refused.
        """
        assert self._file is not None
        try:
            self._file.write(json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise storage_error(error, self._path) from error

    def close(self) -> None:
        """Bring it onto the disk and close it."""
        if self._file is not None:
            with suppress(OSError):  # a full disk was reported when the line was written
                self._file.flush()
                os.fsync(self._file.fileno())
            with suppress(OSError):
                self._file.close()
            self._file = None


class TensorBoard:
    """Event files for TensorBoard (extra ``tensorboard``)."""

    def __init__(self, folder: Path, *, after_step: int = 0) -> None:
        """Open a writer.

        Raises:
            MissingExtraError: The package is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("--tensorboard", "tensorboard") from error
        self._writer = SummaryWriter(str(folder), purge_step=after_step + 1 if after_step else None)

    def log(self, record: Record) -> None:
        """Write each number as a scalar, those of a mapping under its name."""
        for name, value in record.items():
            parts = value if isinstance(value, Mapping) else {"": value}
            for part, number in parts.items():
                if name != "step" and isinstance(number, int | float):
                    tag = f"{name}/{part}" if part else name
                    self._writer.add_scalar(tag, number, record["step"])

    def close(self) -> None:
        """Write what is waiting."""
        self._writer.close()


class Told:
    """A callback as a sink."""

    def __init__(self, callback: Callable[[Record], None]) -> None:
        self._callback = callback

    def log(self, record: Record) -> None:
        """Call it."""
        self._callback(record)

    def close(self) -> None:
        """Nothing is left to do."""


class Sinks:
    """Several sinks as one."""

    def __init__(self, sinks: Sequence[MetricSink]) -> None:
        self._sinks = tuple(sinks)

    def log(self, record: Record) -> None:
        """Give it to each."""
        for sink in self._sinks:
            sink.log(record)

    def close(self) -> None:
        """Close each."""
        for sink in self._sinks:
            sink.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``; lines that are not whole records, as a kill leaves them, are left out.

    Raises:
        InputError: There is no such file, or it is too large to be one.
    """
    return [record for _, record in _lines(path)]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. A run writes it beside its config.json; give the run's directory."
        )
    if path.stat().st_size > MAX_METRICS_BYTES:
        raise InputError(f"{path}: larger than {MAX_METRICS_BYTES >> 30} GiB. Is this the metrics of a run?")
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(_MAX_LINE):
            number += 1
            line = raw.decode("utf-8", "replace").rstrip("\n")
            record = _record(line)
            if record is not None and raw.endswith(b"\n"):
                yield line, record
            elif line:
                logger.warning("%s: line %d is no whole record and is left out", path, number)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return record if isinstance(step, int) and not isinstance(step, bool) else None


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
