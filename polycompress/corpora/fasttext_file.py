"""Check that a file is a whole fastText model before the library reads it.

The library trusts every number in the file: one that was cut off makes it read words without end, and a wrong size
makes it read other memory. The layout is that of version 12 (and 11), little-endian and without padding:

==========  =====================================================================================================
part        content
==========  =====================================================================================================
head        int32 magic number, version
settings    12 int32: dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate;
            double t
dictionary  int32 entries, words, labels; int64 tokens, pruned (-1: not pruned); per entry the name and a zero byte,
            int64 count, int8 type (0 word, 1 label), words first; per pruned n-gram 2 int32 (bucket, row)
input       int8 quantised; a matrix of words and n-grams
output      int8 quantised; a matrix of labels, or of words where the model is of words (skip-gram, cbow)
matrix      int64 rows, columns; float32 values
quantised   int8 norms; int64 rows, columns; int32 bytes of codes; the codes; a quantiser; with norms, a byte a row
            and a quantiser
quantiser   int32 dim, parts, columns of a part, of the last part; 256 float32 for each of dim
==========  =====================================================================================================
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final

from polycompress.corpora.unpacking import open_regular
from polycompress.errors import InputError

MAGIC: Final = 793712314
"""The first four bytes of every model."""
_VERSIONS: Final = (11, 12)
_SUPERVISED: Final = 3
_OF_WORDS: Final = (1, 2)
_LOSSES: Final = (1, 2, 3, 4)
_CENTROIDS: Final = 256
_MAX_COUNT: Final = 10**15
_MAX_WORD: Final = 2**16
_ADVICE: Final = {
    True: "Give a whole supervised model (.bin or .ftz); download it again.",
    False: "Give a whole model of words (.bin); train or fetch it again.",
}


class _DamagedError(Exception):
    """What is wrong with the file."""


def check_model_file(path: Path, *, supervised: bool = True) -> None:
    """Refuse what is no whole model, or holds numbers that do not fit each other.

    Args:
        path: ``.bin`` or ``.ftz``.
        supervised: Whether it is to be a model with labels; else one of words.

    Raises:
        InputError: It is missing, no regular file, or no such model.
    """
    with open_regular(path) as file:
        head = file.read(8)
        if len(head) < 8 or struct.unpack("<ii", head)[0] != MAGIC:
            raise InputError(f"{path}: not a fastText model. {_ADVICE[supervised]}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data)
            try:
                _check(cursor, supervised)
            except _DamagedError as error:
                raise InputError(
                    f"{path}: not a whole fastText model (byte {cursor.position}: {error}). {_ADVICE[supervised]}"
                ) from error


class _Cursor:
    """Reads on from a place, never beyond the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{layout}")
        self._need(size)
        values = struct.unpack_from(f"<{layout}", self._data, self.position)
        self.position += size
        return values

    def skip(self, size: int) -> None:
        self._need(size)
        self.position += size

    def skip_name(self) -> None:
        end = self._data.find(b"\0", self.position, self.position + _MAX_WORD)
        if end < 0:
            raise _DamagedError("a word without an end")
        self.position = end + 1

    def at_end(self) -> bool:
        return self.position == len(self._data)

    def _need(self, size: int) -> None:
        if size < 0 or size > len(self._data) - self.position:
            raise _DamagedError("the file ends early, or a size is wrong")


def _check(cursor: _Cursor, supervised: bool) -> None:
    _, version = cursor.take("ii")
    _require(version in _VERSIONS, f"version {version}; 11 and 12 can be read")
    dim, _, _, _, _, word_ngrams, loss, model, bucket, _, maxn, _ = cursor.take("12i")
    cursor.take("d")
    if supervised:
        _require(model == _SUPERVISED, "it is not supervised, so it has no labels to tell languages by")
    else:
        _require(model in _OF_WORDS, "it is supervised, so its vectors are made for labels")
    _require(loss in _LOSSES and dim > 0 and bucket >= 0, "settings that cannot be")
    _require(bucket > 0 or (maxn <= 0 and word_ngrams <= 1), "n-grams without buckets")
    words, labels, pruned = _check_dictionary(cursor, supervised)
    (quantised,) = cursor.take("b")
    _check_matrix(cursor, words + (bucket if pruned < 0 else pruned), dim, quantised != 0)
    _require(quantised != 0 or pruned < 0, "it is pruned but not quantised")
    (output_quantised,) = cursor.take("b")
    _check_matrix(cursor, labels if supervised else words, dim, quantised != 0 and output_quantised != 0)
    _require(cursor.at_end(), "there is something behind its end")


def _check_dictionary(cursor: _Cursor, supervised: bool) -> tuple[int, int, int]:
    """Words, labels and rows of n-grams that were kept (-1: all)."""
    size, words, labels, _, pruned = cursor.take("3i2q")
    _require(
        words >= 0 and (labels > 0 if supervised else labels == 0) and size == words + labels,
        "numbers of words and labels that do not add up",
    )
    for number in range(size):
        cursor.skip_name()
        count, kind = cursor.take("qb")
        _require(0 <= count < _MAX_COUNT, "a count that cannot be")
        _require(kind == (number >= words), "words and labels out of order")
    for _ in range(pruned):
        first, row = cursor.take("2i")
        _require(first >= 0 and 0 <= row < pruned, "a row that is not there")
    return words, labels, pruned


def _check_matrix(cursor: _Cursor, rows: int, columns: int, quantised: bool) -> None:
    if not quantised:
        _require(cursor.take("2q") == (rows, columns), "a matrix of the wrong size")
        cursor.skip(4 * rows * columns)
        return
    norms, *shape, code_bytes = cursor.take("b2qi")
    _require(tuple(shape) == (rows, columns), "a matrix of the wrong size")
    cursor.skip(code_bytes)
    parts = _check_quantiser(cursor, columns)
    _require(code_bytes == rows * parts, "codes that do not fit the matrix")
    if norms:
        cursor.skip(rows)
        _require(_check_quantiser(cursor, 1) == 1, "norms in several parts")


def _check_quantiser(cursor: _Cursor, columns: int) -> int:
    """The number of parts that a row is cut into."""
    dim, parts, part, last = cursor.take("4i")
    _require(
        dim == columns and parts > 0 and part > 0 and 0 < last <= part and part * (parts - 1) + last == dim,
        "a quantiser of the wrong size",
    )
    cursor.skip(4 * _CENTROIDS * dim)
    return int(parts)


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise _DamagedError(problem)
