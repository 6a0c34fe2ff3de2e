"""The directory of a run: what lies where, records of finished stages, and the lock."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.modeldir.leftovers import sweep
from polycompress.modeldir.paths import load_json
from polycompress.pipelines.recipes.stages import Stage

RECIPE: Final = "recipe.yaml"
RUN: Final = "run.json"
LOCK: Final = "lock"
STAGES: Final = "stages"
WORK: Final = "work"
"""Where stages are at work; it is gone when the run is finished."""
MAX_RECORD_BYTES: Final = 1 << 28
_FOLDER: Final = re.compile(r"\d{1,3}-(?P<name>[a-z0-9-]+)", re.ASCII)


class RunDirectory:
    """The places of a run."""

    def __init__(self, root: Path, numbered: Mapping[str, str] | None = None) -> None:
        """With the folders of stages, by name, that have another number than in the recipe."""
        self.root = root
        self._numbered = numbered or {}

    def output(self, stage: Stage) -> Path:
        """Where a finished stage's output lies."""
        return self.root / STAGES / self._numbered.get(stage.name, stage.folder)

    def record(self, stage: Stage) -> Path:
        """What is known of a finished stage; nothing in it depends on time or machine."""
        return self.root / STAGES / f"{self._numbered.get(stage.name, stage.folder)}.json"

    def work(self, stage: Stage) -> Path:
        """Where a stage is at work."""
        return self.root / WORK / stage.name

    def note(self, stage: Stage) -> Path:
        """Says what the work is for, and whether it is whole."""
        return self.root / WORK / f"{stage.name}.json"

    def check(self, name: str) -> None:
        """Refuse a directory that is not for this run, before any work is done.

        Raises:
            InputError: It is a file, or holds something else, or the run of a recipe with another name.
        """
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise InputError(f"{self.root}: is a file. Give a directory for the run.")
        names = {entry.name for entry in self.root.iterdir() if not entry.name.startswith(".")} - {LOCK}
        if names and RECIPE not in names:
            raise InputError(
                f"{self.root}: has no {RECIPE}, so it is no run of a recipe. Choose another directory."
            )
        known = read_note(self.root / RUN).get("recipe", name)
        if known != name:
            raise InputError(
                f"{self.root}: is the run of the recipe {str(known)[:60]!r}, not of {name!r}. Choose another --out."
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory if need be, and keep other processes out of it.

        Raises:
            InputError: Another process is at work in it.
            StorageError: The disk refused.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(
                self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
            )
        except OSError as error:
            raise storage_error(error, self.root) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{self.root}: another process is at work in it. Wait for it, or choose another --out."
                ) from error
            for folder in (self.root, self.root / STAGES, self.root / WORK):
                sweep(folder)  # of what is not there nothing is left
            yield
        finally:
            os.close(descriptor)

    def lay_out(self, recipe: Mapping[str, Any]) -> None:
        """Write the settled recipe, which makes a run of the directory, and the folders of its stages.

        Raises:
            StorageError: The disk refused.
        """
        with atomic_file(self.root / RECIPE, "w") as file:
            yaml.safe_dump(dict(recipe), file, sort_keys=False, allow_unicode=True, width=100)
        try:
            (self.root / STAGES).mkdir(exist_ok=True)
            (self.root / WORK).mkdir(exist_ok=True)
        except OSError as error:
            raise storage_error(error, self.root) from error

    def adopt(self, stages: tuple[Stage, ...]) -> None:
        """Give outputs of stages whose place in the recipe is another now their new number."""
        for entry, stage in self._misplaced(stages):
            old, place = entry.with_suffix(""), entry.with_name(stage.folder)
            if old.is_dir() and not place.exists():
                old.rename(place)
            entry.rename(entry.with_name(f"{stage.folder}.json"))

    def unadopted(self, stages: tuple[Stage, ...]) -> RunDirectory:
        """The same to look at: outputs of such stages under the numbers that they have."""
        numbered: dict[str, str] = {}
        for entry, stage in self._misplaced(stages):
            numbered.setdefault(stage.name, entry.stem)
        return RunDirectory(self.root, numbered)

    def _misplaced(self, stages: tuple[Stage, ...]) -> Iterator[tuple[Path, Stage]]:
        """Records of stages that have another number in the recipe."""
        wanted = {stage.name: stage for stage in stages}
        for entry in sorted((self.root / STAGES).glob("*.json")):
            match = _FOLDER.fullmatch(entry.stem)
            stage = wanted.get(match["name"]) if match is not None else None
            if stage is None or stage.folder == entry.stem:
                continue
            if not entry.with_name(f"{stage.folder}.json").exists():
                yield entry, stage


def read_note(path: Path) -> dict[str, Any]:
    """A record; empty where there is none.

    Raises:
        InputError: It is damaged.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_RECORD_BYTES:
        raise InputError(f"{path}: larger than {MAX_RECORD_BYTES >> 20} MiB. Remove it.")
    found = load_json(path.read_bytes(), path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no JSON object. Remove it, and what it tells of is done again.")
    return found


def write_note(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all.

    Raises:
        StorageError: The disk refused.
    """
    with atomic_file(path, "w") as file:
        file.write(json.dumps(value, ensure_ascii=True, indent=1) + "\n")
