"""Cut corpora into shards: units that are read on their own, in any order, on any machine that sees the files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.corpora.formats import Kind, kind_of
from polycompress.corpora.hub_datasets import DatasetSpec
from polycompress.corpora.hub_reading import open_dataset
from polycompress.corpora.parquet import row_group_bytes
from polycompress.corpora.reading import Reading
from polycompress.corpora.specs import CorpusSpec
from polycompress.corpora.unpacking import is_packed, open_regular

BYTES_PER_SHARD: Final = 1 << 27


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One unit of reading: a file, a range of one, or a part of a data set. It may be pickled."""

    name: str
    """For messages: the file's path or the data set, as the user wrote it."""
    path: Path | None
    """None for a data set."""
    kind: Kind
    begin: int = 0
    """First byte of a text, first row group of a parquet file, number of the part of a data set."""
    end: int | None = None
    """Behind the last; None: to the end. A line belongs to the range that its first byte lies in."""
    size: int = 0
    """Bytes of the file when it was cut, of all files of a local data set; 0 for one on the hub."""
    mtime_ns: int = 0
    """When that had last been changed; 0 on the hub, where nothing changes at a revision."""
    dataset: DatasetSpec | None = None

    @property
    def whole(self) -> bool:
        """Whether it is a whole file."""
        return self.path is not None and self.begin == 0 and self.end is None

    def key(self) -> str:
        """What it is, for recognising it later: another one where the file has changed or is cut elsewhere."""
        place = str(self.path.absolute()) if self.path is not None else self.name
        end = "" if self.end is None else self.end
        return f"{self.kind}:{place}:{self.size}:{self.mtime_ns}:{self.begin}-{end}"


def make_shards(
    spec: CorpusSpec, reading: Reading, *, bytes_per_shard: int = BYTES_PER_SHARD
) -> tuple[Shard, ...]:
    """Cut a corpus into shards, in the order of its files.

    A big file of plain text or jsonl that is not compressed is cut by bytes, a parquet file between row groups, a
    data set into its own parts; every other file is one shard. No content is read but parquet's footers.

    Args:
        spec: Whose corpus.
        reading: How it will be read.
        bytes_per_shard: About the size of a shard; at least 1.

    Raises:
        InputError: A file is missing or no regular file, or a data set cannot be opened.
        MissingExtraError: A file or a data set needs packages that are not installed.
    """
    if spec.dataset is not None:
        return _parts(spec.dataset)
    return tuple(shard for path in spec.files for shard in _cut(whole_shard(path), max(1, bytes_per_shard)))


def whole_shard(path: Path, kind: Kind | None = None) -> Shard:
    """A file as one shard.

    Args:
        path: The file.
        kind: None: what its name says.

    Raises:
        InputError: It is missing or no regular file.
    """
    with open_regular(path):
        status = path.stat()
    return Shard(
        name=str(path),
        path=path,
        kind=kind if kind is not None else kind_of(path),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def _parts(spec: DatasetSpec) -> tuple[Shard, ...]:
    open_dataset.cache_clear()  # a local directory may have changed since an earlier corpus of this process
    opened = open_dataset(spec)
    return tuple(
        Shard(
            name=str(opened.spec),
            path=None,
            kind=Kind.DATASET,
            begin=part,
            end=part + 1,
            size=opened.size,
            mtime_ns=opened.mtime_ns,
            dataset=opened.spec,
        )
        for part in range(opened.parts)
    )


def _cut(shard: Shard, size: int) -> Iterator[Shard]:
    path = shard.path
    if path is None or shard.size <= size:
        yield shard
    elif shard.kind is Kind.PARQUET:
        groups = row_group_bytes(path)
        yield from _ranges(shard, _group_bounds(groups, size)) if groups else [shard]
    elif shard.kind in (Kind.TEXT, Kind.JSONL) and not is_packed(path):
        yield from _ranges(shard, [*range(0, shard.size, size), shard.size])
    else:
        yield shard


def _group_bounds(groups: Iterable[int], size: int) -> list[int]:
    """Numbers of row groups between which a file is cut, so that each part but the last has at least ``size`` bytes."""
    bounds, number, gathered = [0], 0, 0
    for number, amount in enumerate(groups, start=1):
        gathered += amount
        if gathered >= size:
            bounds.append(number)
            gathered = 0
    return bounds if bounds[-1] == number else [*bounds, number]


def _ranges(shard: Shard, bounds: Iterable[int]) -> Iterator[Shard]:
    for begin, end in itertools.pairwise(bounds):
        yield dataclasses.replace(shard, begin=begin, end=end)
