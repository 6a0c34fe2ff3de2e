"""Open and stream data sets with the ``datasets`` library: only tables of text, only from their own files."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.hub_datasets import SCHEME, DatasetSpec
from polycompress.corpora.parquet import column_values, is_text_type
from polycompress.corpora.records import Texts, missing_field
from polycompress.errors import InputError, MissingExtraError, PolycompressError

ROWS: Final = 1024
"""Rows of a batch."""
FORMATS: Final = ("arrow", "csv", "json", "parquet", "text")
"""Of the library's readers those that hold tables of text, run nothing and unpickle nothing."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenDataset:
    """A split that can be streamed in parts."""

    spec: DatasetSpec
    """With the split that was chosen."""
    parts: int
    size: int
    """Bytes of its files where it is a local directory, else 0."""
    mtime_ns: int
    """When one of them was last changed, likewise."""
    stream: Any
    """The library's ``IterableDataset``."""


@functools.lru_cache(maxsize=8)
def open_dataset(spec: DatasetSpec) -> OpenDataset:
    """Find the files of a data set; none of them is read.

    Raises:
        InputError: The revision is no commit, the configuration or split does not exist, the format is not one of
            ``FORMATS``, or a file lies elsewhere.
        MissingExtraError: The library is not installed.
        PolycompressError: The hub cannot be reached or does not have it.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"Reading {SCHEME} data sets", "train") from None
    if not spec.is_local and not _COMMIT.fullmatch(spec.revision or ""):
        raise _unpinned(spec)
    path = str(spec.directory.resolve()) if spec.is_local else spec.name
    try:
        builder = datasets.load_dataset_builder(path, spec.config, revision=spec.revision)
    except Exception as error:  # of many kinds, some of them not the library's own
        raise _not_opened(spec, error) from error
    module = type(builder).__module__.rpartition(".")[2]
    if module not in FORMATS:
        raise InputError(f"{spec}: its files are of the kind {module}; {', '.join(FORMATS)} can be read.")
    files = {str(split): list(map(str, names)) for split, names in (builder.config.data_files or {}).items()}
    split = _split(spec, tuple(files))
    chosen = dataclasses.replace(spec, split=split)
    _inside(chosen, files[split])
    statuses = [Path(name).stat() for name in files[split]] if spec.is_local else []
    try:
        stream = builder.as_streaming_dataset(split=split)
    except Exception as error:
        raise _not_opened(spec, error) from error
    return OpenDataset(
        spec=chosen,
        parts=max(1, stream.num_shards),
        size=sum(status.st_size for status in statuses),
        mtime_ns=max((status.st_mtime_ns for status in statuses), default=0),
        stream=stream,
    )


def dataset_texts(spec: DatasetSpec, part: int, column: str) -> Texts:
    """Values of a column of one part.

    Args:
        spec: With its split.
        part: Number of the part, from 0.
        column: The column.

    Raises:
        InputError: See ``open_dataset``; or the column is missing or holds no text.
        DamagedShardError: A file of it cannot be read on.
        PolycompressError: The hub cannot be reached.
    """
    row = 0
    for table in _sound_tables(open_dataset(spec), part):
        if column not in table.column_names:
            raise missing_field(str(spec), column, table.column_names)
        kind = table.schema.field(column).type
        if not is_text_type(kind):
            raise InputError(
                f"{spec}: the field {column!r} holds {kind}, not text. Name the one that holds the text with --field."
            )
        for values, problem in column_values(table.column(column)):
            yield values
            row += len(values)
            if problem is not None:
                place = f"part {part}, row {row}"
                raise DamagedShardError(f"{spec}: {place}: {problem}. Leave the part out, or mend it.", place)


def dataset_rows(spec: DatasetSpec) -> Iterator[dict[str, Any]]:
    """All rows of a split, part after part, with the values of every column.

    Args:
        spec: The split.

    Raises:
        InputError: See ``open_dataset``.
        DamagedShardError: A file of it cannot be read on.
        PolycompressError: The hub cannot be reached.
    """
    opened = open_dataset(spec)
    for part in range(opened.parts):
        for table in _sound_tables(opened, part):
            yield from table.to_pylist()


def _sound_tables(opened: OpenDataset, part: int) -> Iterator[Any]:
    """Arrow tables of one part; where it cannot be read on, an error that says where."""
    row = 0
    for table in _tables(opened, part):
        place = f"part {part}, row {row}"
        if isinstance(table, Exception):
            if _is_network(table):
                raise PolycompressError(
                    f"{opened.spec}: {place}: the hub does not answer ({_first(table)})."
                ) from table
            raise DamagedShardError(
                f"{opened.spec}: {place}: the data set cannot be read on ({_first(table)}). "
                "Leave the part out, or mend it.",
                place,
            ) from table
        yield table
        row += table.num_rows


def _tables(opened: OpenDataset, part: int) -> Iterator[Any]:
    """Arrow tables, and at the end the error that the library raised, if any."""
    try:
        stream = opened.stream.shard(num_shards=opened.parts, index=part)
        tables = stream.with_format("arrow").iter(batch_size=ROWS)
    except Exception as error:
        yield error
        return
    while True:
        try:
            table = next(tables, None)
        except Exception as error:
            yield error
            return
        if table is None:
            return
        yield table


def _split(spec: DatasetSpec, found: Sequence[str]) -> str:
    shown = ", ".join(found) or "none"
    if spec.split is not None:
        if spec.split not in found:
            raise InputError(f"{spec}: there is no split {spec.split!r} (found: {shown}).")
        return spec.split
    if len(found) == 1:
        return found[0]
    if "train" not in found:
        raise InputError(f"{spec}: which split? Add #NAME (found: {shown}).")
    return "train"


def _inside(spec: DatasetSpec, files: Sequence[str]) -> None:
    """Refuse files that a data set's description takes from elsewhere."""
    if spec.is_local:
        directory = spec.directory.resolve()
        # In the hub's cache a snapshot's files are links to the blobs beside it.
        roots = [
            directory,
            *(parent / "blobs" for parent in directory.parents if parent.name.startswith("datasets--")),
        ]
        bad = [name for name in files if not any(Path(name).resolve().is_relative_to(root) for root in roots)]
    else:
        start = f"{SCHEME}datasets/{spec.name}@{spec.revision}/"
        bad = [name for name in files if not name.startswith(start) or ".." in name.split("/")]
    if bad:
        raise InputError(f"{spec}: it names a file outside of itself, {bad[0]}; it is not read.")


def _unpinned(spec: DatasetSpec) -> InputError:
    import huggingface_hub

    asked = f"{spec.revision!r} is no commit" if spec.revision else "none is named"
    example = f"{SCHEME}{spec.name}@REVISION"
    try:
        found = huggingface_hub.HfApi().dataset_info(spec.name, revision=spec.revision, timeout=10).sha
        example = f"{SCHEME}{spec.name}@{found}"
        advice = f"{spec.revision or 'main'} is now {found}; write {example}"
    except Exception as error:  # offline, not there, not allowed
        advice = f"the hub could not be asked for it: {_first(error)}. Write {example} with 40 digits"
    return InputError(f"{spec}: a data set is read at a pinned revision, a commit, and {asked}: {advice}.")


def _not_opened(spec: DatasetSpec, error: Exception) -> PolycompressError:
    if _is_network(error):
        return PolycompressError(
            f"{spec}: the hub does not answer or does not have it ({_first(error)}). Check the name and the network."
        )
    message = " ".join(line.strip() for line in str(error).splitlines()[:2])
    return InputError(f"{spec}: the data set cannot be opened ({message[:400]}).")


def _is_network(error: BaseException | None) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    return error is not None and (
        isinstance(error, ConnectionError | TimeoutError | HfHubHTTPError)
        or type(error).__module__.partition(".")[0] in ("httpx", "httpcore", "requests", "aiohttp")
        or _is_network(error.__cause__)
    )


def _first(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0][:300].strip().rstrip(".")
