"""Texts of one column of a parquet file, some row groups at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.records import Texts, missing_field
from polycompress.corpora.unpacking import is_packed, open_regular
from polycompress.errors import InputError, MissingExtraError

ROWS: Final = 1024
"""Rows of a batch at most."""
MAX_BYTES: Final = 2**24
"""Of a batch, about; a single value may be longer."""
_MAGIC: Final = b"PAR1"
_BUFFER: Final = 2**20


def parquet_texts(path: Path, column: str, begin: int, end: int | None) -> Texts:
    """Values of a column.

    Args:
        path: A parquet file.
        column: Its name; at the top level.
        begin: First row group.
        end: Behind the last one; None: all.

    Raises:
        InputError: It is no parquet file, or the column is missing or holds no text.
        DamagedShardError: It is cut off or damaged, or a value is not UTF-8.
        MissingExtraError: pyarrow is not installed.
    """
    with _opened(path) as file:
        _check_column(path, file.schema_arrow, column)
        groups = range(begin, file.num_row_groups if end is None else end)
        for group in groups:
            row = 0
            rows = _rows_at_a_time(file.metadata.row_group(group))
            batches = file.iter_batches(batch_size=rows, row_groups=[group], columns=[column])
            while True:
                place = f"row group {group}, row {row}"
                with _guarded(path, place):
                    batch = next(batches, None)
                if batch is None:
                    break
                for values, problem in column_values(batch.column(0)):
                    yield values
                    row += len(values)
                    if problem is not None:
                        raise _damaged(path, f"row group {group}, row {row}", problem)


def row_group_bytes(path: Path) -> list[int] | None:
    """Bytes of each row group, as the footer says; None where the footer cannot be read.

    Raises:
        InputError: The file is missing or no regular file.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        with _opened(path) as file:
            metadata = file.metadata
            return [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    except DamagedShardError:  # reading it will say so, where damage can be dealt with
        return None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Reading parquet files", "parquet") from None
    with open_regular(path) as raw:
        head = raw.read(len(_MAGIC))
    if is_packed(path):
        raise InputError(f"{path}: a compressed parquet file. Unpack it: parquet is compressed inside.")
    if head != _MAGIC:
        raise InputError(f"{path}: not a parquet file (it does not begin with PAR1). Check its name.")
    with _guarded(path, "footer"):
        file = pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False, memory_map=False)
    with file:
        yield file


@contextmanager
def _guarded(path: Path, place: str) -> Iterator[None]:
    """Say where the library failed; damaged files make it raise errors of several kinds."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _damaged(path, place, str(error)) from error


def _damaged(path: Path, place: str, problem: str) -> DamagedShardError:
    first = problem.strip().partition("\n")[0][:200]
    return DamagedShardError(
        f"{path}: {place}: the parquet data are damaged or cut off ({first}). Write or download it again.",
        place,
    )


def _check_column(name: object, schema: Any, column: str) -> None:
    if column not in schema.names:
        raise missing_field(str(name), column, schema.names)
    if schema.names.count(column) > 1:
        raise InputError(
            f"{name}: the field {column!r} is there {schema.names.count(column)} times. Rename one."
        )
    if not is_text_type(schema.field(column).type):
        raise InputError(
            f"{name}: the field {column!r} holds {schema.field(column).type}, not text. "
            "Name the one that holds the text with --field."
        )


def is_text_type(kind: Any) -> bool:
    """Whether an Arrow type is text, perhaps by way of a dictionary."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_null(kind)
    )


def column_values(array: Any) -> Iterator[tuple[list[str | None], str | None]]:
    """The values of an Arrow array, some at a time; what is wrong behind the last one, if it is not UTF-8."""
    from pyarrow import types

    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    step = max(1, len(array) * MAX_BYTES // max(1, array.nbytes))
    for start in range(0, len(array), step):
        part = array.slice(start, step)
        try:
            values = part.to_pylist()
        except UnicodeDecodeError:
            yield _until_damaged(part)
            return
        yield values, None


def _until_damaged(array: Any) -> tuple[list[str | None], str | None]:
    values: list[str | None] = []
    for scalar in array:
        try:
            values.append(scalar.as_py())
        except UnicodeDecodeError as error:
            return values, f"not UTF-8: {error.reason}"
    return values, None


def _rows_at_a_time(group: Any) -> int:
    return int(max(1, min(ROWS, MAX_BYTES * group.num_rows // max(1, group.total_byte_size))))
