"""The local door: what a data directory holds of a task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from polycompress.errors import InputError
from polycompress.evaluation.records import Part, Split
from polycompress.evaluation.sources.doors import LocalDoor, Row
from polycompress.evaluation.sources.files import conll_rows, squad_rows, tsv_rows
from polycompress.evaluation.sources.templates import find_named


def local_parts(door: LocalDoor, split: Split, data: Path) -> list[Part]:
    """The parts of which all files of a split are there, sorted.

    Raises:
        InputError: There is no such directory.
    """
    if not data.is_dir():
        raise InputError(f"--data {data}: there is no such directory. Check the name.")
    found = [set(find_named(template, data, door.codes)) for template in door.files.get(split, ())]
    return sorted(set.intersection(*found)) if found else []


def local_rows(door: LocalDoor, part: Part, split: Split, data: Path) -> Iterator[Row]:
    """Rows of one part.

    Args:
        door: The task's.
        part: Which.
        split: Which.
        data: The data directory.

    Raises:
        InputError: A file is missing (the languages found are named), there twice, or damaged.
    """
    if part not in (parts := local_parts(door, split, data)):
        raise _missing(door, part, split, data, parts)
    for template in door.files[split]:
        files = find_named(template, data, door.codes)[part]
        if len(files) > 1:
            names = " and ".join(str(path) for path, _ in files)
            raise InputError(f"{names} are both {part}. Remove one.")
        ((path, code),) = files
        yield from _rows(door, split, path, code)


def layout(door: LocalDoor) -> str:
    """The files that a data directory needs, for messages."""
    templates = dict.fromkeys(template for templates in door.files.values() for template in templates)
    return ", ".join(templates)


def _rows(door: LocalDoor, split: Split, path: Path, code: str) -> Iterator[Row]:
    if door.format == "conll":
        return conll_rows(path)
    if door.format == "squad":
        return squad_rows(path)
    columns = {value: column.replace("{language}", code) for value, column in door.columns.items()}
    return tsv_rows(path, columns, (door.split_column, door.where[split]) if door.split_column else None)


def _missing(door: LocalDoor, part: Part, split: Split, data: Path, parts: list[Part]) -> InputError:
    templates = door.files.get(split, ())
    if not templates:
        splits = ", ".join(name for name in door.files)
        return InputError(f"This task has no split {split} in a data directory (it has {splits}).")
    found = ", ".join(map(str, parts)) or "none"
    return InputError(
        f"{data}: no {split} examples in {part} (looked for {' and '.join(templates)}, plain or compressed; "
        f"languages found: {found})."
    )
