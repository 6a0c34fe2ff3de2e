"""Binary word vectors: the format of word2vec, and fastText's models by its library."""

from __future__ import annotations

import codecs
import mmap
import re
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.fasttext_file import MAGIC, check_model_file
from polycompress.corpora.unpacking import open_regular
from polycompress.embeddings.word_vectors import MAX_WIDTH, MAX_WORDS
from polycompress.errors import InputError, MissingExtraError

END: Final = "</s>"
"""fastText's own word for the end of a line, which is no word of a language."""
_HEADER = re.compile(rb"(\d{1,12}) (\d{1,6})[ \r]*\n")
_MAX_WORD: Final = 1 << 16


def is_fasttext(path: Path) -> bool:
    """Whether a file begins as a fastText model does.

    Raises:
        InputError: It is missing or no regular file.
    """
    with open_regular(path) as file:
        head = file.read(4)
    return len(head) == 4 and struct.unpack("<i", head)[0] == MAGIC


def is_word2vec(path: Path) -> bool:
    """Whether a file begins with the header of word2vec's binary format, and goes on with what is no text.

    Raises:
        InputError: It is missing or no regular file.
    """
    with open_regular(path) as file:
        head = file.read(1 << 16)
    match = _HEADER.match(head)
    if match is None:
        return False
    line, end, _ = head[match.end() :].partition(b"\n")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(line, final=bool(end))
    except UnicodeDecodeError:
        return True
    cells = text.split()
    return bool(cells) and (
        len(cells) < 2 or any(ord(character) < 32 and character not in "\t\r" for character in text)
    )


def read_word2vec(path: Path, *, limit: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
    """Read word2vec's binary format: a line with both sizes; of each word its bytes, a blank and float32 values.

    Args:
        path: The file, not compressed.
        limit: The first so many only.

    Returns:
        Keys, each once, and the (n, d) matrix.

    Raises:
        InputError: It ends early or holds more, a key is not UTF-8 or comes twice (both numbers), or a value is not
            finite (word named).
    """
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        match = _HEADER.match(data[:64])
        if match is None:
            raise InputError(f"{path}: does not begin with the two sizes of word2vec's binary format.")
        n, width, position = int(match[1]), int(match[2]), match.end()
        if not 1 <= width <= MAX_WIDTH or not 1 <= n <= MAX_WORDS or n * (4 * width + 2) > len(data):
            raise InputError(
                f"{path}: its header promises {n} vectors of {width} values, which its {len(data)} bytes cannot hold. "
                "Fetch it again."
            )
        count = n if limit is None else min(n, limit)
        keys: dict[str, int] = {}
        matrix = np.empty((count, width), np.float32)
        for number in range(1, count + 1):
            end = data.find(b" ", position, position + _MAX_WORD)
            if end < 0 or end + 1 + 4 * width > len(data):
                raise InputError(f"{path}: ends inside of word {number} of {n}. Fetch it again.")
            key = _key(data[position:end].lstrip(b"\n"), number, path)
            if key in keys:
                raise InputError(
                    f"{path}: {key!r} is word {keys[key]} and again word {number}. Keep one vector of each word."
                )
            keys[key] = number
            matrix[number - 1] = np.frombuffer(data, "<f4", width, end + 1)
            if not np.isfinite(matrix[number - 1]).all():
                raise InputError(
                    f"{path}: the vector of {key!r} (word {number}) holds NaN or infinite values. Leave the word out, "
                    "or train anew."
                )
            position = end + 1 + 4 * width
        if count == n and data[position:].strip():
            raise InputError(f"{path}: goes on behind its {n} vectors: its header is wrong. Fetch it again.")
    return list(keys), matrix


def read_fasttext(path: Path) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
    """Words of a fastText model, their vectors (those of their n-grams added) and counts.

    Args:
        path: A skip-gram or cbow model, ``.bin``.

    Raises:
        InputError: It is no whole model, or a value is not finite.
        MissingExtraError: fastText is not installed.
    """
    model = open_fasttext(path)
    words, counts = model.get_words(include_freq=True)
    kept = [place for place, word in enumerate(words) if word != END]
    matrix = np.empty((len(kept), model.get_dimension()), np.float32)
    for row, place in enumerate(kept):
        matrix[row] = model.get_word_vector(words[place])
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: the vector of {words[kept[bad[0]]]!r} holds NaN or infinite values. Train anew."
        )
    return [words[place] for place in kept], matrix, np.asarray(counts, np.int64)[kept]


def open_fasttext(path: Path) -> Any:
    """A fastText model of words, by its library; ``get_word_vector`` knows words that it has not seen.

    Raises:
        InputError: It is no whole model.
        MissingExtraError: fastText is not installed.
    """
    try:
        import fasttext
    except ImportError:
        raise MissingExtraError("Reading a fastText model", "vectors") from None
    check_model_file(path, supervised=False)
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError, MemoryError) as error:
        raise InputError(f"{path}: fastText cannot read it ({error}). Train or fetch it again.") from error


def _key(raw: bytes, number: int, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: word {number} is not UTF-8 ({error.reason}). Fetch it again.") from error
