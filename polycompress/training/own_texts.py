"""Texts in the tokens of models that cut them otherwise than the student, on disk, mapped into memory.

A directory per language, beside that of its ``Examples``, holds for the student and for each model with tokens of its
own the word of each token (``words-N.bin``, int32, or ``alignment.NO_WORD``) and where each example begins
(``offsets-N.bin``, int64, one more than examples); for the models, numbered from 1, the ids as well (``ids-N.bin``,
uint32). What is known of them is in ``meta.json``. ``own_texts_making.py`` writes it.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.training.examples import META, Examples, LanguageExamples, mapped
from polycompress.training.items import Item

FORMAT: Final = 1
_MAX_META: Final = 1 << 26
_NO_LABELS: Final = np.zeros(0, dtype=np.int64)


def words_file(model: int) -> str:
    """Of the words of a model's tokens; 0 is the student."""
    return f"words-{model}.bin"


def offsets_file(model: int) -> str:
    """Of where examples begin."""
    return f"offsets-{model}.bin"


def ids_file(model: int) -> str:
    """Of a model's tokens."""
    return f"ids-{model}.bin"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A language's examples as one model sees them, one after another."""

    offsets: NDArray[np.int64]
    """(E + 1,)"""
    words: NDArray[np.int32]
    """(T,)"""
    ids: NDArray[np.uint32] | None
    """(T,) None for the student, whose tokens are those of ``Examples``."""


class OwnLanguage:
    """The examples of one language; see the module."""

    def __init__(self, path: Path, models: int) -> None:
        """Open a directory.

        Args:
            path: The directory.
            models: Besides the student.

        Raises:
            InputError: It is not whole.
        """
        try:
            if (path / META).stat().st_size > _MAX_META:
                raise ValueError(f"{META} is too large")
            self.meta: dict[str, Any] = json.loads((path / META).read_text(encoding="utf-8"))
            tokens = [int(each) for each in self.meta["tokens"]]
            if self.meta["format"] != FORMAT or len(tokens) != models + 1:
                raise ValueError(f"{META} is of another version, or of other models")
            count = int(self.meta["examples"])
            self.sides = tuple(_side(path, model, count, each) for model, each in enumerate(tokens))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: the texts in other models' tokens are damaged ({error}). Remove them; they are made again."
            ) from error
        self.path = path

    @property
    def coverage(self) -> tuple[float, ...]:
        """Of the student and of each model, the share of its tokens of text that stand in words which all have."""
        return tuple(
            matched / max(1, ordinary)
            for matched, ordinary in zip(self.meta["matched"], self.meta["ordinary"], strict=True)
        )

    def check(self, examples: LanguageExamples) -> None:
        """Refuse what does not belong to examples.

        Raises:
            InputError: The student's tokens are others, or no word is common to all models.
        """
        lengths = examples.lengths(np.arange(examples.count))
        if not np.array_equal(np.diff(self.sides[0].offsets), lengths):
            raise InputError(
                f"{self.path}: these texts are not those of {examples.path}. Remove both; they are made again."
            )
        if not self.meta["matched"][0]:
            raise InputError(
                f"{examples.language}: the student's tokenizer and its teachers' have no word of this text in common, "
                "so nothing can be compared. Do their normalisers drop its characters? Take other text or another "
                "teacher."
            )


class Rows:
    """Something of each example of several languages, numbered as ``Examples`` are."""

    def __init__(self, parts: Sequence[tuple[NDArray[Any], NDArray[np.int64]]]) -> None:
        """Put languages together.

        Args:
            parts: (T,) values of each language, and (E + 1,) where each example's begin.
        """
        self._parts = tuple(parts)
        self._firsts = [0, *itertools.accumulate(len(offsets) - 1 for _, offsets in parts)]

    def __len__(self) -> int:
        """Examples."""
        return self._firsts[-1]

    def __getitem__(self, text_id: int) -> NDArray[np.int64]:
        """Those of one example."""
        if not 0 <= text_id < len(self):
            raise IndexError(f"there is no example {text_id}: they have the numbers 0 to {len(self) - 1}")
        part = bisect.bisect_right(self._firsts, text_id) - 1
        values, offsets = self._parts[part]
        begin, end = offsets[text_id - self._firsts[part] :][:2].tolist()
        return np.asarray(values[begin:end], dtype=np.int64)


class ItemRows:
    """The same as items."""

    def __init__(self, ids: Rows) -> None:
        """Take the tokens."""
        self._ids = ids

    def __getitem__(self, text_id: int) -> Item:
        """One example's tokens; nothing is labelled."""
        return Item(self._ids[text_id], _NO_LABELS)


def words_of(parts: Sequence[OwnLanguage], model: int) -> Rows:
    """Words of a model's tokens, of all languages; 0 is the student."""
    return Rows([(part.sides[model].words, part.sides[model].offsets) for part in parts])


def items_of(parts: Sequence[OwnLanguage], model: int) -> ItemRows:
    """A model's tokens, of all languages; from 1."""
    found = []
    for part in parts:
        side = part.sides[model]
        assert side.ids is not None
        found.append((side.ids, side.offsets))
    return ItemRows(Rows(found))


def check_all(parts: Sequence[OwnLanguage], examples: Examples) -> None:
    """Refuse what does not belong to examples; see ``OwnLanguage.check``."""
    for part, own in zip(parts, examples.parts, strict=True):
        part.check(own)


def _side(path: Path, model: int, count: int, tokens: int) -> Side:
    offsets = mapped(path / offsets_file(model), np.dtype("<i8"), count + 1)
    if offsets[0] != 0 or offsets[-1] != tokens or (np.diff(offsets) < 1).any():
        raise ValueError(f"{offsets_file(model)} does not fit")
    return Side(
        offsets=offsets,
        words=mapped(path / words_file(model), np.dtype("<i4"), tokens),
        ids=mapped(path / ids_file(model), np.dtype("<u4"), tokens) if model else None,
    )
