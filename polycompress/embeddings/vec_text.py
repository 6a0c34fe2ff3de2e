"""The text format of word vectors: ``.vec`` of fastText and word2vec, ``.txt`` of GloVe, plain or compressed."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.lines import decoded, record_lines
from polycompress.corpora.unpacking import BLOCK, HashedFile, unpacked
from polycompress.embeddings.word_vectors import MAX_WIDTH, MAX_WORDS
from polycompress.errors import InputError

_HEADER = re.compile(r"\s*(\d{1,12})\s+(\d{1,6})\s*")
_BLOCK_ROWS: Final = 4096
_LARGEST: Final = float(np.finfo(np.float32).max)
_SPACES: Final = " \t\r\n"


def read_text_vectors(path: Path, *, limit: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
    """Read keys and vectors, one a line with blanks between; a first line of two numbers is a header.

    A key may hold blanks: the values are what stands at the end.

    Args:
        path: The file, plain or compressed.
        limit: The first so many only, the most frequent ones in usual files.

    Returns:
        Keys, each once, and the (n, d) matrix.

    Raises:
        InputError: A line has another number of values than the others or one that is no number (line named), a value
            is not finite (line and word), a key comes twice (both lines), there are not as many lines as the header
            says, or none; or the file cannot be read.
    """
    lines = enumerate(_lines(path), start=1)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: is empty. Give a file of word vectors.")
    header = _HEADER.fullmatch(first[1])
    if header is None:
        lines = itertools.chain([first], lines)  # type: ignore[assignment]
    said, width = (int(header[1]), int(header[2])) if header is not None else (None, _width(first[1], path))
    _check_size(path, said or 0, width)
    keys: dict[str, int] = {}
    blocks: list[NDArray[np.float32]] = []
    waiting: list[tuple[int, str, list[str]]] = []
    wanted = limit if limit is not None else MAX_WORDS
    for number, line in lines:
        if not line.strip(_SPACES):
            continue
        if len(keys) == wanted:
            break
        key, values = _parted(line, width, number, path)
        if key in keys:
            raise InputError(
                f"{path}: {key!r} stands in line {keys[key]} and again in line {number}. Keep one vector of each word."
            )
        keys[key] = number
        waiting.append((number, key, values))
        if len(waiting) == _BLOCK_ROWS:
            blocks.append(_matrix(waiting, width, path))
            waiting = []
    blocks.append(_matrix(waiting, width, path))
    if said is not None and limit is None and len(keys) != said:
        raise InputError(
            f"{path}: its first line promises {said} vectors, but there are {len(keys)}: it was cut off, or its first "
            "line is wrong. Fetch it again."
        )
    if not keys:
        raise InputError(f"{path}: holds no vectors. Give a file of word vectors.")
    return list(keys), np.concatenate(blocks)


def _width(line: str, path: Path) -> int:
    """Values of the first line of a file without a header, where the key is one word."""
    return len(line.split()) - 1


def _check_size(path: Path, words: int, width: int) -> None:
    if not 1 <= width <= MAX_WIDTH or words > MAX_WORDS:
        raise InputError(
            f"{path}: line 1 makes {words} vectors of {width} values; at most {MAX_WORDS} of 1 to {MAX_WIDTH} can be "
            "read. Give a file of word vectors: a word and its values in each line."
        )


def _parted(line: str, width: int, number: int, path: Path) -> tuple[str, list[str]]:
    cells = line.strip("\r\n").rstrip(" \t").rsplit(None, width)
    if len(cells) != width + 1:
        raise _wrong_width(path, number, len(line.split()) - 1, width)
    return cells[0], cells[1:]


def _matrix(rows: list[tuple[int, str, list[str]]], width: int, path: Path) -> NDArray[np.float32]:
    """Values of some lines; only where something is wrong are the lines looked at one by one."""
    matrix: NDArray[np.float32] | None
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told below
            matrix = np.array([values for _, _, values in rows], np.float32).reshape(len(rows), width)
    except ValueError:
        matrix = None
    if matrix is not None and np.isfinite(matrix).all():
        # A value too many went to the key, which then ends with a number.
        for number, key, _ in rows:
            if " " in key and _is_number(key.rpartition(" ")[2]):
                raise _wrong_width(path, number, width + 1, width)
        return matrix
    for number, key, values in rows:
        for value in values:
            if not _is_number(value):
                raise InputError(
                    f"{path}: line {number} ({key!r}): {value[:40]!r} is no number: every line needs a word and "
                    f"{width} values."
                )
            if not abs(float(value)) <= _LARGEST:
                raise InputError(
                    f"{path}: line {number}: the vector of {key!r} holds {value[:40]}. Leave the word out, or "
                    "train anew."
                )
    raise InputError(f"{path}: lines {rows[0][0]} to {rows[-1][0]} cannot be read as numbers.")


def _wrong_width(path: Path, number: int, found: int, width: int) -> InputError:
    return InputError(
        f"{path}: line {number} has {found} values where the others have {width}. Mend or remove the line."
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> Iterator[str]:
    with HashedFile(path) as raw, io.BufferedReader(raw, BLOCK) as buffered:
        for batch in record_lines(decoded(unpacked(buffered, path), path), path):
            yield from batch
