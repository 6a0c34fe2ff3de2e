"""Tables whose rows tell by an id which translate each other, as those of SIB-200 and of parallel treebanks do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from polycompress.errors import InputError

IDS: Final = ("index_id", "sent_id", "id")
"""Columns that hold an id."""
TEXT: Final = "text"
SPLIT: Final = "split"
TRAIN: Final = "train"
"""Where tables have a split, only these rows are read: the others are there to judge by."""
MAX_ROWS: Final = 5_000_000


def shared_id(first: str, second: str) -> str | None:
    """The id column that two tables have in common, by their first lines; None where they are no such tables."""
    headers = [[cell.strip() for cell in line.split("\t")] for line in (first, second)]
    if any(TEXT not in header for header in headers):
        return None
    return next((name for name in IDS if all(name in header for header in headers)), None)


def joined_pairs(
    first: Iterator[str], second: Iterator[str], paths: Sequence[Path], id_: str
) -> Iterator[tuple[str, str]]:
    """Texts of rows with the same id, in the order of the second table; rows that the other has not are left out.

    Args:
        first: Lines, the header among them.
        second: Lines of the other.
        paths: Of both, for messages.
        id_: The column.

    Raises:
        InputError: A row has another number of columns than its header, or an id comes twice (line named).
    """
    known = dict(_texts(first, paths[0], id_))
    for key, text in _texts(second, paths[1], id_):
        if key in known:
            yield known[key], text


def _texts(lines: Iterator[str], path: Path, id_: str) -> Iterator[tuple[str, str]]:
    header = [cell.strip() for cell in next(lines).split("\t")]
    id_at, text_at = header.index(id_), header.index(TEXT)
    split_at = header.index(SPLIT) if SPLIT in header else None
    seen: set[str] = set()
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(header):
            raise InputError(
                f"{path}: line {number} has {len(cells)} columns where its first line has {len(header)}. Mend the line."
            )
        key = cells[id_at].strip()
        if key in seen:
            raise InputError(
                f"{path}: line {number}: the {id_} {key[:40]!r} comes a second time. Keep one row of each."
            )
        seen.add(key)
        if len(seen) > MAX_ROWS:
            raise InputError(
                f"{path}: has more than {MAX_ROWS} rows. Give two files that go line by line instead."
            )
        if split_at is None or cells[split_at].strip() == TRAIN:
            yield key, cells[text_at]
