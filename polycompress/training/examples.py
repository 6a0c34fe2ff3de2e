"""Tokenised texts on disk, mapped into memory: any example of any language without reading the others.

A directory per language holds the ids of all its examples one after another (``ids.bin``, uint32), where each begins
(``offsets.bin``, int64, one more than examples), the text it is a piece of (``texts.bin``, int64) and what is known of
them (``meta.json``). ``tokenising.py`` writes it.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

FORMAT: Final = 1
META: Final = "meta.json"
IDS: Final = "ids.bin"
OFFSETS: Final = "offsets.bin"
TEXTS: Final = "texts.bin"
_MAX_META: Final = 1 << 26
_SCAN: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One text, or a piece of one that is too long."""

    text_id: int
    """Its number among the examples of all languages."""
    language: str
    """Code."""
    ids: NDArray[np.integer[Any]]
    """(T,) of its tokens, special ones included."""
    epoch: int = 0
    """How often it was seen before."""


class LanguageExamples:
    """The examples of one language; see the module."""

    def __init__(self, path: Path) -> None:
        """Open a directory.

        Raises:
            InputError: It is not whole.
        """
        try:
            if (path / META).stat().st_size > _MAX_META:
                raise ValueError(f"{META} is too large")
            meta = json.loads((path / META).read_text(encoding="utf-8"))
            self.language = str(meta["language"])
            self.count, self.tokens = int(meta["examples"]), int(meta["tokens"])
            self.longest, self.highest_id = int(meta["longest"]), int(meta["highest_id"])
            self._files = [(str(each["name"]), int(each["texts"])) for each in meta["files"]]
            if meta["format"] != FORMAT or self.count < 1:
                raise ValueError(f"{META} is of another version, or of no examples")
            self._ids = mapped(path / IDS, np.dtype("<u4"), self.tokens)
            self._offsets = mapped(path / OFFSETS, np.dtype("<i8"), self.count + 1)
            self._texts = mapped(path / TEXTS, np.dtype("<i8"), self.count)
            if self._offsets[0] != 0 or self._offsets[-1] != self.tokens:
                raise ValueError(f"{OFFSETS} does not fit {IDS}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: the tokenised texts are damaged ({error}). Remove them; they are made again."
            ) from error
        self.path, self.meta = path, meta

    def lengths(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some examples: (n,) to (n,)."""
        return np.asarray(self._offsets[indices + 1] - self._offsets[indices], dtype=np.int64)

    def ids(self, index: int) -> NDArray[np.uint32]:
        """The tokens of an example, not copied."""
        begin, end = self._offsets[index : index + 2].tolist()
        piece: NDArray[np.uint32] = self._ids[begin:end]
        return piece

    def locate(self, index: int) -> str:
        """Which text an example is, in words."""
        text = int(self._texts[index])
        piece = index - int(np.searchsorted(self._texts, text))
        ends = list(itertools.accumulate(amount for _, amount in self._files))
        file = bisect.bisect_right(ends, text)
        name, first = self._files[file][0], ends[file] - self._files[file][1]
        part = (
            f", piece {piece + 1}"
            if piece or (index + 1 < self.count and self._texts[index + 1] == text)
            else ""
        )
        return f"{self.language}, text {text - first + 1} of {name}{part}"

    def check_table(self, rows: int) -> None:
        """Refuse ids that an embedding table has no row for.

        Raises:
            InputError: There is one; the message names the first, and its text.
        """
        if self.highest_id < rows:
            return
        for begin in range(0, self.tokens, _SCAN):
            outside = np.flatnonzero(self._ids[begin : begin + _SCAN] >= rows)
            if len(outside):
                place = begin + int(outside[0])
                index = int(np.searchsorted(self._offsets, place, side="right")) - 1
                raise InputError(
                    f"{self.locate(index)} has the token id {int(self._ids[place])}, but the model's table has {rows} "
                    "rows. The tokenizer and the model do not belong together."
                )


class Examples:
    """The examples of several languages; ``text_id`` numbers them through, language after language."""

    languages: tuple[str, ...]
    """Codes."""
    counts: tuple[int, ...]
    """Examples of each language."""
    tokens: tuple[int, ...]
    """Tokens of each language."""

    def __init__(self, parts: Sequence[LanguageExamples]) -> None:
        """Put languages together.

        Raises:
            InputError: There is none, or one twice.
        """
        codes = [part.language for part in parts]
        if not parts:
            raise InputError("There is no corpus to train on. Give one.")
        if len(set(codes)) < len(codes):
            raise InputError(f"A language comes twice among the examples: {', '.join(codes)}.")
        self.parts = tuple(parts)
        self.languages = tuple(codes)
        self.counts = tuple(part.count for part in parts)
        self.tokens = tuple(part.tokens for part in parts)
        self._firsts = [0, *itertools.accumulate(self.counts)]

    def __len__(self) -> int:
        """Examples of all languages."""
        return self._firsts[-1]

    @property
    def longest(self) -> int:
        """Tokens of the longest example."""
        return max(part.longest for part in self.parts)

    def lengths(self, language: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some examples of a language, (n,) to (n,)."""
        return self.parts[language].lengths(indices)

    def get(self, language: int, index: int, epoch: int = 0) -> Example:
        """One example by its language's number and its own within it."""
        part = self.parts[language]
        return Example(self._firsts[language] + index, part.language, part.ids(index), epoch)

    def __getitem__(self, text_id: int) -> Example:
        """One example by its number."""
        return self.get(*self._place(text_id))

    def __iter__(self) -> Iterator[Example]:
        """All of them in order."""
        return (
            self.get(number, index) for number, part in enumerate(self.parts) for index in range(part.count)
        )

    def locate(self, text_id: int) -> str:
        """Which text an example is, in words: the language, the file, the number of the text in it."""
        language, index = self._place(text_id)
        return self.parts[language].locate(index)

    def check_table(self, rows: int) -> None:
        """Refuse ids outside the table; see ``LanguageExamples.check_table``."""
        for part in self.parts:
            part.check_table(rows)

    def fingerprint(self) -> dict[str, Any]:
        """What the examples are made of, as plain values: equal for equal ones."""
        return {part.language: part.path.name for part in self.parts}

    def provenance(self) -> dict[str, Mapping[str, Any]]:
        """What was read for each language, for the record."""
        return {part.language: part.meta for part in self.parts}

    def _place(self, text_id: int) -> tuple[int, int]:
        if not 0 <= text_id < len(self):
            raise IndexError(f"there is no example {text_id}: they have the numbers 0 to {len(self) - 1}")
        language = bisect.bisect_right(self._firsts, text_id) - 1
        return language, text_id - self._firsts[language]


def mapped(path: Path, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """The values of a file, read as they are asked for; raises ``ValueError`` where it has another size."""
    if path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {size * dtype.itemsize}")
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(size,)))
