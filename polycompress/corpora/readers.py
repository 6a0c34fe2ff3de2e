"""Read shards: lists of texts, in order, with what was read and what was left out."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.cleaning import clean
from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.files import names
from polycompress.corpora.formats import Kind
from polycompress.corpora.hashing import sampled
from polycompress.corpora.hub_datasets import DatasetSpec
from polycompress.corpora.hub_reading import dataset_texts, open_dataset
from polycompress.corpora.identifying import identifier
from polycompress.corpora.lines import decoded, plain_lines, split_lines, with_text
from polycompress.corpora.parquet import parquet_texts
from polycompress.corpora.reading import Reading
from polycompress.corpora.records import jsonl_texts, table_texts
from polycompress.corpora.shards import Shard, whole_shard
from polycompress.corpora.specs import CorpusSpec
from polycompress.corpora.unpacking import BLOCK, HashedFile, line_range, unpacked
from polycompress.errors import InputError


class ShardReader:
    """The texts of one shard; iterating again reads again from its start."""

    def __init__(self, shard: Shard, reading: Reading, skip: NDArray[np.int64] | None = None) -> None:
        self.shard = shard
        self.reading = reading
        self._skip = skip
        self._start()

    def __iter__(self) -> Iterator[str]:
        """The texts one by one; for ``Raises`` see ``batches``."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[str]]:
        """The texts in lists of some hundreds or thousands, none of them empty.

        Raises:
            InputError: The file is missing, has changed since the shard was cut, is binary, or has not the field.
            DamagedShardError: Something in it cannot be read; the texts before that were handed out.
            MissingExtraError: Its format needs packages that are not installed.
            StorageError: The system cannot read on.
        """
        self._start()
        pick = identifier(self.reading.identify) if self.reading.identify is not None else None
        candidates = 0
        try:
            for found in self._lines():
                lines = with_text(found)
                if self.reading.cleaning:
                    lines = with_text(clean(lines, self.reading.cleaning))
                self._note("empty", len(found) - len(lines))
                if self.reading.sample < 1:
                    lines = self._drop(
                        "sample", lines, sampled(lines, self.reading.sample, self.reading.seed)
                    )
                if self._skip is not None:
                    first, candidates = candidates, candidates + len(lines)
                    lines = self._drop("duplicate", lines, self._without(lines, first))
                if pick is not None and lines:
                    lines = self._drop("identify", lines, pick(lines))
                if lines:
                    self.texts_read += len(lines)
                    yield lines
        except DamagedShardError as error:
            error.shard = self.shard
            error.texts_read = self.texts_read
            raise

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lines left out so far, by the reason: ``empty``, ``sample``, ``duplicate``, ``identify``."""
        return dict(self._dropped)

    def provenance(self) -> dict[str, Any]:
        """What the last iteration read to its end: name and bytes, and SHA-256 where it is a whole file."""
        return dict(self._provenance)

    def _start(self) -> None:
        self._dropped: Counter[str] = Counter()
        self._provenance: dict[str, Any] = {}
        self.texts_read = 0

    def _note(self, reason: str, count: int) -> None:
        if count:
            self._dropped[reason] += count

    def _drop(self, reason: str, before: list[str], after: list[str]) -> list[str]:
        self._note(reason, len(before) - len(after))
        return after

    def _without(self, lines: list[str], first: int) -> list[str]:
        """Lines whose numbers are not to be skipped, where the first has the number ``first``."""
        assert self._skip is not None
        low, high = np.searchsorted(self._skip, (first, first + len(lines)))
        if low == high:
            return lines
        bad = set((self._skip[low:high] - first).tolist())
        return [line for number, line in enumerate(lines) if number not in bad]

    def _lines(self) -> Iterator[list[str]]:
        shard, path = self.shard, self.shard.path
        if shard.dataset is not None:
            self._unchanged(*_state_of(shard.dataset))
            yield from self._split(dataset_texts(shard.dataset, shard.begin, self.reading.column))
            self._provenance = {"name": shard.name, **shard.dataset.as_dict(), "part": shard.begin}
        elif path is not None:
            now = whole_shard(path)
            self._unchanged(now.size, now.mtime_ns)
            read = self._parquet_lines if shard.kind is Kind.PARQUET else self._file_lines
            yield from read(path)

    def _unchanged(self, size: int, mtime_ns: int) -> None:
        if (size, mtime_ns) != (self.shard.size, self.shard.mtime_ns):
            raise InputError(f"{self.shard.name}: has changed since its shards were cut. Start again.")

    def _parquet_lines(self, path: Path) -> Iterator[list[str]]:
        shard = self.shard
        yield from self._split(parquet_texts(path, self.reading.column, shard.begin, shard.end))
        self._provenance = {"name": path.name, "bytes": shard.size}
        if shard.whole:
            with path.open("rb") as file:
                self._provenance["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            self._provenance["row_groups"] = [shard.begin, shard.end]

    def _file_lines(self, path: Path) -> Iterator[list[str]]:
        shard = self.shard
        if shard.end is not None:
            blocks = line_range(path, shard.begin, shard.end)
            first = next(blocks, None)
            start, size = (first[0] if first is not None else shard.begin), 0

            def counted() -> Iterator[bytes]:
                nonlocal size
                for _, block in itertools.chain([first] if first is not None else [], blocks):
                    size += len(block)
                    yield block

            yield from self._decoded_lines(decoded(counted(), path, start), path, start)
            self._provenance = {"name": path.name, "bytes": size, "range": [shard.begin, shard.end]}
            return
        with HashedFile(path) as raw, io.BufferedReader(raw, BLOCK) as buffered:
            yield from self._decoded_lines(decoded(unpacked(buffered, path), path), path, 0)
            while buffered.read(BLOCK):
                pass
            self._provenance = {"name": path.name, "bytes": raw.size, "sha256": raw.digest.hexdigest()}

    def _decoded_lines(self, texts: Iterable[str], path: Path, start: int) -> Iterator[list[str]]:
        kind, column = self.shard.kind, self.reading.column
        if kind is Kind.TEXT:
            yield from plain_lines(texts)
        elif kind is Kind.JSONL:
            yield from self._split(jsonl_texts(texts, path, column, lambda: _line_feeds(path, start)))
        else:
            yield from self._split(table_texts(texts, path, column, tabs=kind is Kind.TSV))

    def _split(self, batches: Iterable[list[str | None]]) -> Iterator[list[str]]:
        """Values as lines, since a text is one line wherever it comes from."""
        for values in batches:
            present = [value for value in values if value is not None]
            self._note("empty", len(values) - len(present))
            if present:
                yield split_lines("\n".join(present))


def read_shard(shard: Shard, reading: Reading, skip: NDArray[np.int64] | None = None) -> ShardReader:
    """The texts of a shard; for what goes wrong see ``ShardReader.batches``.

    Args:
        shard: One of ``make_shards``.
        reading: How it becomes texts.
        skip: (d,) Numbers of texts to leave out, increasing, as ``find_duplicates`` gives them.
    """
    return ShardReader(shard, reading, skip)


def read_texts(source: CorpusSpec | Iterable[Path]) -> Iterator[str]:
    """The texts of files, or of a corpus as it is to be read; see ``TextReader``."""
    if isinstance(source, CorpusSpec):
        return iter(TextReader(source.files, source.reading))
    return iter(TextReader(source))


class TextReader:
    r"""Texts of files in order, streamed, with the digests of what was read.

    Files are UTF-8, plain or compressed with gzip, zstd, bzip2 or xz (told by their first bytes). A byte
    order mark, ``\r`` before ``\n``, and lines of white space are left out; nothing else is changed. A line
    longer than ``MAX_LINE`` comes in pieces. Without a reading every file is plain text, one text a line,
    whatever its name.
    """

    def __init__(self, files: Iterable[Path], reading: Reading | None = None) -> None:
        self._files = tuple(files)
        self._reading = reading
        self._read: list[dict[str, Any]] = []
        self._dropped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        """The texts one by one; for ``Raises`` see ``batches``."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[list[str]]:
        """Read all files from the start, in lists of texts.

        Raises:
            InputError: A file is missing, not UTF-8, binary, or its compressed data are cut off or damaged
                (with the offset of the byte), or there is no text in any of them.
        """
        self._read = []
        self._dropped = Counter()
        empty = True
        for file in self._files:
            shard = whole_shard(file, Kind.TEXT if self._reading is None else None)
            reader = ShardReader(shard, self._reading or Reading())
            for batch in reader.batches():
                empty = False
                yield batch
            self._read.append(reader.provenance())
            self._dropped.update(reader.dropped)
        if empty:
            raise InputError(f"{names(self._files)}: no text in it. Give a file with one text a line.")

    def provenance(self) -> list[dict[str, Any]]:
        """Name, bytes and SHA-256 of each file that the last iteration read to its end."""
        return list(self._read)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Lines left out of the files that the last iteration read to their ends, by the reason."""
        return dict(self._dropped)


def _state_of(spec: DatasetSpec) -> tuple[int, int]:
    opened = open_dataset(spec)
    return opened.size, opened.mtime_ns


def _line_feeds(path: Path, end: int) -> int:
    """Line feeds before a byte of a plain file."""
    count = 0
    with path.open("rb", buffering=0) as file:
        while end > 0 and (block := file.read(min(BLOCK, end))):
            count += block.count(b"\n")
            end -= len(block)
    return count
