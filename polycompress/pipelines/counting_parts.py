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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.pipelines.counting_units import DAMAGED, Damage, Unit
from polycompress.vocab.counts import LanguageCounts, load_counts, merge_counts

logger = logging.getLogger(__name__)

_JOB: Final = "job.json"
_MAX_JOB_BYTES: Final = 1 << 24
_TOGETHER: Final = 16
"""Parts that are in memory at a time."""


class Parts:
    """The directory of one job."""

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        self.path = path
        self._job = json.loads(json.dumps(job))
        self.damaged: tuple[Damage, ...] = ()
        """Of the units merged last."""
        self.dropped: Mapping[str, int] = {}
        """Of the units merged last: lines left out, by the reason."""

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
                json.dump(self._job, file, indent=2)
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
        differences = list(_differences(found, self._job))
        if differences:
            raise InputError(
                f"{self.path}: holds what an interrupted count of another kind has finished: {'; '.join(differences)}. "
                "Run that command again, or remove the directory, or choose another --out."
            )

    def has(self, unit: Unit) -> bool:
        """Whether a unit is finished; what cannot be read is removed."""
        path = self._part(unit)
        if not path.is_file():
            return False
        try:
            counts = load_counts(path)
            if (
                list(counts.languages) == [unit.code]
                and counts.tokenizer_sha256 == self._job["tokenizer_sha256"]
            ):
                return True
        except InputError as error:
            logger.warning("%s", error)
        path.unlink(missing_ok=True)
        return False

    def put(self, unit: Unit, packed: bytes) -> None:
        """Keep a unit's counts file."""
        with atomic_file(self._part(unit)) as file:
            file.write(packed)

    def merge(self, units: Sequence[Unit]) -> dict[str, LanguageCounts]:
        """Add up the units, which are all finished, by language."""
        merged: dict[str, LanguageCounts] = {}
        damaged: list[Damage] = []
        dropped: Counter[str] = Counter()
        by_code: dict[str, list[Unit]] = {}
        for unit in units:
            by_code.setdefault(unit.code, []).append(unit)
        for code, own in by_code.items():
            gathered: list[LanguageCounts] = []
            for unit in own:
                counts = load_counts(self._part(unit)).languages[code]
                source = dict(counts.source)
                damaged += (Damage(**entry) for entry in source.pop(DAMAGED, ()))
                dropped.update(source.get("dropped", {}))
                gathered.append(dataclasses.replace(counts, source=source))
                if len(gathered) == _TOGETHER:
                    gathered = [merge_counts(gathered)]
            merged[code] = merge_counts(gathered)
        self.damaged, self.dropped = tuple(damaged), dict(sorted(dropped.items()))
        return merged

    def remove(self) -> None:
        """The output is whole: nothing of this is needed any more."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _part(self, unit: Unit) -> Path:
        return self.path / f"{unit.code}-{unit.key}.npz"

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
