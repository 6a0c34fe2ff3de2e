"""The hub door: data sets of the Hugging Face hub at a pinned revision, streamed by the ``datasets`` library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from polycompress.corpora.hub_datasets import DatasetSpec
from polycompress.corpora.hub_reading import dataset_rows
from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.evaluation.records import Kind, Part, Split
from polycompress.evaluation.sources.doors import COMMIT, HubDoor, Row
from polycompress.evaluation.sources.templates import read_name

_SHOWN: Final = 60


def hub_parts(door: HubDoor, split: Split) -> list[Part]:
    """The parts that a task's file lists for a split, sorted; the hub is not asked."""
    return sorted(_configs(door)) if split in door.splits else []


def hub_rows(door: HubDoor, kind: Kind, part: Part, split: Split, *, advice: str) -> Iterator[Row]:
    """Rows of one part.

    Args:
        door: The task's.
        kind: The task's.
        part: One of ``hub_parts``.
        split: Which.
        advice: What to do instead where the hub cannot be reached, for messages.

    Raises:
        InputError: No revision is pinned, the hub cannot be reached, or a column is missing.
        MissingExtraError: The library is not installed.
    """
    code, config = _configs(door)[part]
    paragraph = _Paragraphs()
    for name in door.splits[split]:
        spec = DatasetSpec(door.dataset, door.revision, config, name)
        if not spec.is_local and not COMMIT.fullmatch(door.revision or ""):
            raise InputError(
                f"{spec}: no revision of this data set is known that could be pinned. {advice} Or name a commit, 40 "
                "hexadecimal digits, under revision in a task file of your own."
            )
        columns = {value: column.replace("{language}", code) for value, column in door.columns.items()}
        for number, record in enumerate(_records(spec, advice), 1):
            place = f"{spec}: row {number}"
            row = Row(place, _values(place, record, columns, door.names))
            yield paragraph.numbered(row) if kind == "question-answering" else row


def _records(spec: DatasetSpec, advice: str) -> Iterator[Mapping[str, Any]]:
    try:
        yield from dataset_rows(spec)
    except MissingExtraError:
        raise
    except PolycompressError as error:  # among others the hub does not answer
        raise InputError(f"{error} {advice}") from error


def _configs(door: HubDoor) -> dict[Part, tuple[str, str | None]]:
    """Code and configuration of each part."""
    found: dict[Part, tuple[str, str | None]] = {}
    for config in door.configs:
        named = read_name(door.config or "{language}", config, door.codes)
        if named is not None:
            found[named.part] = (named.code, config if door.config else None)
    return found


def _values(
    place: str, record: Mapping[str, Any], columns: Mapping[str, str], names: Sequence[str]
) -> dict[str, Any]:
    missing = [column for column in columns.values() if column not in record]
    if missing:
        raise InputError(
            f"{place}: there is no column {', '.join(map(repr, missing))} (found: {', '.join(record)})."
        )
    values: dict[str, Any] = {value: record[column] for value, column in columns.items()}
    if "label" in values:
        values["label"] = _name(place, values["label"], names)
    if "tags" in values:
        values["words"] = _items(place, "words", values["words"])
        values["tags"] = [_name(place, tag, names) for tag in _items(place, "tags", values["tags"])]
    if "answers" in values:
        values["answers"] = _answers(place, values["answers"])
    return values


def _items(place: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise InputError(f"{place}: the {name} are {repr(value)[:_SHOWN]}, not a list.")
    return value or []


def _name(place: str, value: Any, names: Sequence[str]) -> str:
    """A class or tag as text."""
    if isinstance(value, int) and not isinstance(value, bool) and names:
        if 0 <= value < len(names):
            return names[value]
        raise InputError(f"{place}: class number {value}; the task's file names 0 to {len(names) - 1}.")
    return value if isinstance(value, str) else repr(value)[:_SHOWN]


def _answers(place: str, value: Any) -> list[tuple[str, int]]:
    """Answers as the library lays SQuAD out: one list of texts, one of places."""
    try:
        return list(zip(value["text"], value["answer_start"], strict=True))
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{place}: {repr(value)[:_SHOWN]} is no list of answers with text and answer_start."
        ) from error


class _Paragraphs:
    """Numbers paragraphs from 0: a new one begins where the context is another than before."""

    def __init__(self) -> None:
        self._number = -1
        self._context: object = None

    def numbered(self, row: Row) -> Row:
        context = row.values["context"]
        if context != self._context:
            self._number += 1
            self._context = context
        return Row(row.place, {**row.values, "paragraph": str(self._number)})
