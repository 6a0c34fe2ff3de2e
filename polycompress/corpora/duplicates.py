"""Find texts that are there more than once in all shards together, with memory that does not grow with them.

Every text becomes 16 bytes of hash and its number in its shard. A shard's are written to one file, in sorted segments;
then the hashes are gone through range by range (a partition), each range of all files at once. The first occurrence in
the order of the shards is kept, so neither the number of partitions nor who does which part, or when, matters.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.damage import DamagedShardError
from polycompress.corpora.hashing import digests
from polycompress.corpora.readers import read_shard
from polycompress.corpora.reading import Reading
from polycompress.corpora.shards import Shard
from polycompress.errors import PolycompressError, StorageError

SEGMENT: Final = 1 << 20
"""Texts of a segment; 24 bytes each, and about four times that while it is sorted."""
PARTITION: Final = 1 << 21
"""Texts of a partition, about; likewise."""
_NUMBER: Final = np.dtype("<u8")

_T = TypeVar("_T")
_R = TypeVar("_R")


class Mapper(Protocol):
    """``map``, or that of an executor: results come in the order of the items, whoever works when."""

    def __call__(self, function: Callable[[_T], _R], items: Iterable[_T], /) -> Iterable[_R]:
        """Apply a function to each item."""
        ...


class Duplicates(Mapping[str, NDArray[np.int64]]):
    """By each shard's key the numbers of the texts to leave out, increasing. They stay on disk until asked for."""

    def __init__(
        self, shards: Sequence[Shard], reading: Reading, work: Path, damaged: Mapping[str, DamagedShardError]
    ) -> None:
        self._numbers = {shard.key(): number for number, shard in enumerate(shards)}
        self._own = {shard.key(): _hash_path(work, shard, reading).with_suffix(".own") for shard in shards}
        self._work = work
        self.damaged = damaged
        """Shards that could not be read to their ends, by key: none of their texts counts as an occurrence."""

    def __getitem__(self, key: str) -> NDArray[np.int64]:
        """(d,) numbers for ``read_shard``."""
        number = self._numbers[key]
        if key in self.damaged:
            return np.empty(0, dtype=np.int64)
        found = [np.fromfile(self._own[key], dtype=_NUMBER)]
        for path in sorted((self._work / "repeated").glob("*.bin")):
            shards, texts = _columns(path, 2)
            low, high = np.searchsorted(shards, np.array([number, number + 1], dtype=_NUMBER))
            found.append(texts[low:high])
        return np.sort(np.concatenate(found).astype(np.int64))

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def find_duplicates(
    shards: Sequence[Shard],
    reading: Reading,
    work: Path,
    *,
    partitions: int | None = None,
    skip_bad: bool = False,
    run: Mapper = map,
    progress: Callable[[Shard], None] | None = None,
) -> Duplicates:
    """Find the texts of some shards that are there before, in the same shard or an earlier one.

    Texts are compared after cleaning. Language identification, which looks at a text alone, is left for later.
    What an interrupted call has written to ``work`` is used again.

    Args:
        shards: In the order that says which occurrence is the first.
        reading: How they will be read.
        work: A directory for 24 bytes a text; made if missing. Whoever gives it removes it, after the last use of
            the result.
        partitions: In how many parts the hashes are compared; None: so many that memory stays small.
        skip_bad: Leave damaged shards out, instead of raising at the first one.
        run: How to apply a function to many shards or partitions, for example the ``map`` of a process pool.
        progress: Called with each shard when it was read.

    Raises:
        DamagedShardError: A shard cannot be read to its end.
        InputError: See ``ShardReader.batches``.
        StorageError: The work directory cannot be written.
    """
    hashes, repeated = work / "hashes", work / "repeated"
    with _storing(work):
        hashes.mkdir(parents=True, exist_ok=True)
        repeated.mkdir(exist_ok=True)
        for old in repeated.iterdir():
            old.unlink()
    damaged = {}
    results = run(functools.partial(hash_shard, reading=reading, work=work), shards)
    for shard, error in zip(shards, results, strict=True):
        if error is not None and not skip_bad:
            raise error
        if error is not None:
            damaged[shard.key()] = error
        if progress is not None:
            progress(shard)
    files = [
        (number, _hash_path(work, shard, reading))
        for number, shard in enumerate(shards)
        if shard.key() not in damaged
    ]
    texts = sum(path.stat().st_size for _, path in files) // (3 * _NUMBER.itemsize)
    count = partitions if partitions is not None else -(-texts // PARTITION)
    sift = functools.partial(sift_partition, count=max(1, count), files=files, work=work)
    for _ in run(sift, range(max(1, count))):
        pass
    return Duplicates(shards, reading, work, damaged)


def hash_shard(shard: Shard, *, reading: Reading, work: Path) -> DamagedShardError | None:
    """Write the hashes of a shard's texts, unless they are there; return what is wrong with it, if anything.

    Of texts that are equal within a segment only the first is written; the others' numbers are kept beside it.
    """
    path = _hash_path(work, shard, reading)
    if path.exists():
        return None
    reader = read_shard(shard, dataclasses.replace(reading, identify=None))
    unfinished = path.with_suffix(f".{os.getpid()}")
    own = unfinished.with_suffix(".own-part")
    first, gathered = 0, bytearray()
    try:
        with _storing(work), unfinished.open("wb") as file, own.open("wb") as repeats:
            for batch in reader.batches():
                gathered += digests(batch)
                if len(gathered) >= 16 * SEGMENT:
                    first = _write_segment(gathered, first, file.write, repeats.write)
                    gathered.clear()
            _write_segment(gathered, first, file.write, repeats.write)
            own.replace(path.with_suffix(".own"))
            unfinished.replace(path)
    except DamagedShardError as error:
        return error
    finally:
        unfinished.unlink(missing_ok=True)
        own.unlink(missing_ok=True)
    return None


def sift_partition(partition: int, *, count: int, files: Sequence[tuple[int, Path]], work: Path) -> None:
    """Find the repeated texts among those whose hashes lie in one of ``count`` ranges.

    Args:
        partition: Which one, from 0.
        count: How many there are.
        files: Number of the shard and hashes, in order.
        work: For the result.
    """
    low, high = ((partition + step) * 2**64 // count for step in (0, 1))
    shards, columns = [], []
    for number, path in files:
        for segment in _segments(path):
            begin = int(np.searchsorted(segment[0], np.uint64(low)))
            end = int(np.searchsorted(segment[0], np.uint64(high))) if high < 2**64 else len(segment[0])
            if begin < end:
                columns.append(np.array([column[begin:end] for column in segment]))
                shards.append(np.full(end - begin, number, dtype=_NUMBER))
    if not columns:
        return
    heads, tails, texts = np.concatenate(columns, axis=1)
    owners = np.concatenate(shards)
    order = np.lexsort((tails, heads))  # stable: equal hashes stay in the order of shards and texts
    again = order[1:][(np.diff(heads[order]) == 0) & (np.diff(tails[order]) == 0)]
    again = np.sort(again)  # the shards' order, by which they are looked up
    with _storing(work), (work / "repeated" / f"{partition}.bin").open("wb") as file:
        file.write(np.concatenate([owners[again], texts[again]]).tobytes())


def _write_segment(
    gathered: bytearray, first: int, write: Callable[[bytes], int], repeat: Callable[[bytes], int]
) -> int:
    """Write how many, then columns: halves of the sorted hashes and the texts' numbers; return the next number."""
    halves = np.frombuffer(bytes(gathered), dtype=_NUMBER).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    halves = halves[order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (halves[1:] != halves[:-1]).any(axis=1)
    numbers = (order + first).astype(_NUMBER)
    write(np.array([fresh.sum()], dtype=_NUMBER).tobytes())
    for column in (halves[fresh, 0], halves[fresh, 1], numbers[fresh]):
        write(column.tobytes())
    repeat(numbers[~fresh].tobytes())
    return first + len(order)


def _segments(path: Path) -> Iterator[list[NDArray[np.uint64]]]:
    """The segments of a shard's file as columns, not read yet."""
    size = path.stat().st_size // _NUMBER.itemsize
    numbers = np.memmap(path, dtype=_NUMBER, mode="r") if size else np.empty(0, dtype=_NUMBER)
    begin = 0
    while begin < size:
        end = begin + 1 + 3 * int(numbers[begin])
        yield np.split(numbers[begin + 1 : end], 3)
        begin = end


def _columns(path: Path, count: int) -> list[NDArray[np.uint64]]:
    """Columns of equal length that follow each other in a file, not read yet."""
    if path.stat().st_size == 0:
        return [np.empty(0, dtype=_NUMBER)] * count
    return np.split(np.memmap(path, dtype=_NUMBER, mode="r"), count)


def _hash_path(work: Path, shard: Shard, reading: Reading) -> Path:
    chosen = (shard.key(), reading.field, reading.cleaning, reading.sample, reading.seed)
    return work / "hashes" / f"{hashlib.sha256(repr(chosen).encode()).hexdigest()[:40]}.bin"


@contextmanager
def _storing(work: Path) -> Iterator[None]:
    try:
        yield
    except PolycompressError:
        raise
    except OSError as error:
        raise StorageError(
            error.errno, f"{work}: writing hashes failed ({error.strerror}). Name a place with room."
        ) from error
