"""Texts of one column of jsonl, csv and tsv."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.lines import MAX_RECORD, record_lines
from polycompress.errors import InputError

ROWS: Final = 1024
"""Rows of csv and tsv in a batch."""
_SHOWN: Final = 12

Texts = Iterator[list[str | None]]
"""Lists of values of the column; None where a record has none."""


def jsonl_texts(texts: Iterable[str], path: Path, column: str, lines_before: Callable[[], int]) -> Texts:
    """Values of a field of JSON objects, one object a line; empty lines are passed over.

    Args:
        texts: The file, cut anywhere.
        path: For messages.
        column: The field.
        lines_before: How many lines of the file come before the first of these; asked only for messages.

    Raises:
        InputError: No record has the field.
        DamagedShardError: A line is no JSON object with text in the field.
    """
    number, seen = 0, False
    for lines in record_lines(texts, path):
        try:
            values = [json.loads(line)[column] for line in lines if line and not line.isspace()]
            sound = all(map(_is_text, values))
        except (ValueError, LookupError, TypeError, RecursionError):
            sound = False
        if sound:
            yield values
            seen = seen or bool(values)
            number += len(lines)
            continue
        values = []
        for line in lines:
            number += 1
            if line and not line.isspace():
                try:
                    values.append(_field(line, column, seen))
                except _BadRecordError as error:
                    yield values
                    _refuse(path, f"line {lines_before() + number}", error)
                seen = True
        yield values


def table_texts(texts: Iterable[str], path: Path, column: str, *, tabs: bool) -> Texts:
    r"""Values of a column of csv (RFC 4180, commas) or tsv (tabs, without quoting); the first row names the columns.

    Args:
        texts: The file, cut anywhere.
        path: For messages.
        column: The name in the first row.
        tabs: Whether it is tsv.

    Raises:
        InputError: The first row does not have the column, or has it twice.
        DamagedShardError: A row has more or fewer cells than the first, or the quotes do not close.
    """
    csv.field_size_limit(MAX_RECORD)  # of the whole process, and only ever raised by us
    lines = (f"{line}\n" for batch in record_lines(texts, path) for line in batch)
    rows = (
        csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines, strict=True)
    )
    values: list[str | None] = []
    try:
        header = next(rows, [])
        index = _index(path, header, column)
        width = len(header)
        for row in rows:
            if len(row) == width:
                values.append(row[index])
            elif row:
                raise _BadRecordError(f"has {len(row)} cells, but there are {width} columns")
            if len(values) == ROWS:
                yield values
                values = []
    except (csv.Error, _BadRecordError) as error:
        yield values
        _refuse(path, f"line {rows.line_num}", error)
    except DamagedShardError:
        yield values
        raise
    yield values


class _BadRecordError(Exception):
    """What is wrong with a record."""


class _NoFieldError(_BadRecordError):
    """No record so far has the field: the request is wrong, not the file."""


def missing_field(name: str, column: str, found: Iterable[str]) -> InputError:
    """The error for a column that is not there.

    Args:
        name: The file or data set.
        column: The column asked for.
        found: Those that it has.
    """
    return InputError(f"{name}: {_no_field(column, found)}. Name the one that holds the text with --field.")


def _no_field(column: str, found: Iterable[str]) -> str:
    names = [str(name) for name in found]
    shown = ", ".join(name[:60] for name in names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"there is no field {column!r} (found: {shown or 'none'})"


def _index(path: Path, header: list[str], column: str) -> int:
    if column not in header:
        raise missing_field(str(path), column, header)
    if header.count(column) > 1:
        raise InputError(f"{path}: the field {column!r} is there {header.count(column)} times. Rename one.")
    return header.index(column)


def _is_text(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (value.isascii() or _is_unicode(value)))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write
        return False
    return True


def _field(line: str, column: str, seen: bool) -> str | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadRecordError(f"is not JSON ({error})") from error
    if not isinstance(record, dict):
        raise _BadRecordError(f"is a JSON {_kind(record)}, not an object with fields")
    if column not in record:
        error_class = _BadRecordError if seen else _NoFieldError
        raise error_class(_no_field(column, record))
    value = record[column]
    if not _is_text(value):
        what = (
            "broken text (half a surrogate pair)" if isinstance(value, str) else f"a {_kind(value)}, not text"
        )
        raise _BadRecordError(f"has {what} in the field {column!r}")
    return value  # type: ignore[no-any-return]  # checked above


def _kind(value: Any) -> str:
    names = {bool: "truth value", int: "number", float: "number", list: "list", dict: "object", str: "string"}
    return names.get(type(value), "null")


def _refuse(path: Path, place: str, error: Exception) -> NoReturn:
    if isinstance(error, _NoFieldError):
        raise InputError(
            f"{path}: {place}: {error}. Name the one that holds the text with --field."
        ) from error
    raise DamagedShardError(f"{path}: {place}: {error}. Mend or remove it.", place) from error
