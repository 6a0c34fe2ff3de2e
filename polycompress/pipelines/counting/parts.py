"""What an interrupted count leaves beside its output, and what the next run takes from it.

``<out>.parts/`` holds ``job.json``, which says what is being counted how, and one counts file for each unit that is
finished, named by what it was made from. Only units of the same job are taken; those whose files have changed since are
counted anew.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.pipelines.counting.units import UNIT, Damage, Unit
from polycompress.vocab.counts import LanguageCounts, check_counts, load_counts, merge_counts

logger = logging.getLogger(__name__)

_JOB: Final = "job.json"
_SIZE: Final = "unit_bytes"
_MAX_JOB_BYTES: Final = 1 << 24
_TOGETHER: Final = 16
"""Parts that are in memory at a time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A finished unit."""

    path: Path
    code: str
    shards: Mapping[str, str]
    """Keys of the shards that were counted, each with a digest of the numbers of the texts that were left out."""
    damaged: tuple[Damage, ...]


class Parts:
    """The directory of one job."""

    def __init__(self, path: Path, job: Mapping[str, Any], unit_bytes: int) -> None:
        self.path = path
        self.unit_bytes = unit_bytes
        """How large units are; where the job was begun before, as large as they were then."""
        self._job = json.loads(json.dumps(job))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory, or check that it belongs to this job; a block that fails leaves it if it holds anything.

        Raises:
            InputError: It belongs to another one; the message says what differs.
            StorageError: It cannot be made.
        """
        if not self.path.exists():
            try:
                self.path.mkdir()
            except OSError as error:
                raise storage_error(error, self.path) from error
            with atomic_file(self.path / _JOB, "w") as file:
                json.dump({**self._job, _SIZE: self.unit_bytes}, file, indent=2)
        else:
            self._check()
        try:
            yield
        except BaseException:
            if self.path.is_dir() and all(path.name == _JOB for path in self.path.iterdir()):
                self.remove()
            raise

    def _check(self) -> None:
        found = self._found_job()
        if found is None:
            raise InputError(
                f"{self.path}: is there, but was not left by an interrupted count (no {_JOB} that can be read). "
                "Remove it, or choose another --out."
            )
        size = found.pop(_SIZE, None)
        if isinstance(size, int) and size > 0:
            self.unit_bytes = size
        differences = _differences(found, self._job)
        if differences:
            raise InputError(
                f"{self.path}: holds what an interrupted count of another kind has finished: {'; '.join(differences)}. "
                "Run that command again, or remove the directory, or choose another --out."
            )

    def finished(self) -> Iterator[Part]:
        """What is there; what cannot be read is removed."""
        for path in sorted(self.path.glob("*.npz")):
            try:
                yield self._read(path)[0]
            except InputError as error:
                logger.warning("%s", error)
                path.unlink(missing_ok=True)

    def put(self, unit: Unit, packed: bytes) -> Part:
        """Keep a unit's counts file."""
        path = self.path / f"{unit.code}-{unit.key}.npz"
        with atomic_file(path) as file:
            file.write(packed)
        return self._read(path)[0]

    def merge(self, parts: Iterable[Part]) -> dict[str, LanguageCounts]:
        """Add parts up, by language."""
        gathered: dict[str, list[LanguageCounts]] = {}
        for part in parts:
            own = gathered.setdefault(part.code, [])
            own.append(self._read(part.path)[1])
            if len(own) == _TOGETHER:
                own[:] = [merge_counts(own)]
        return {code: merge_counts(own) for code, own in gathered.items()}

    def remove(self) -> None:
        """The output is whole: nothing of this is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _read(self, path: Path) -> tuple[Part, LanguageCounts]:
        """A part, and its counts without what only a part has.

        Raises:
            InputError: It cannot be read, or is no part of this job.
        """
        loaded = load_counts(path)
        check_counts(loaded, path, self._job["tokenizer_sha256"], self._job["vocab_size"])
        try:
            ((code, counts),) = loaded.languages.items()
            source = dict(counts.source)
            record = source.pop(UNIT)
            damaged = tuple(Damage(**entry) for entry in record["damaged"])
            part = Part(path=path, code=code, shards=dict(record["shards"]), damaged=damaged)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no part of a count; it is counted again") from error
        return part, dataclasses.replace(counts, source=source)

    def _found_job(self) -> dict[str, Any] | None:
        path = self.path / _JOB
        try:
            if not path.is_file() or path.stat().st_size > _MAX_JOB_BYTES:
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any], name: str = "") -> list[str]:
    """What differs between two jobs, in words."""
    differences: list[str] = []
    for key in dict.fromkeys((*found, *wanted)):
        there, here = found.get(key), wanted.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            differences += _differences(there, here, f"{name}{key}.")
        elif there != here:
            differences.append(f"{name}{key} was {there!r}, now it is {here!r}")
    return differences
