"""Labelled texts in tokens, in memory: what is fine-tuned on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.training.examples import Example


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A text, a pair of texts, a sentence in words or a window of a context."""

    ids: NDArray[np.integer[Any]]
    """(T,) of its tokens, special ones included."""
    labels: NDArray[np.int64]
    """Of a text or a pair its class, (1,); of words (T,) tags, ``IGNORED`` where there is none; of a window the first
    and the last token of the answer, (2,)."""
    type_ids: NDArray[np.integer[Any]] | None = None
    """(T,) which of two texts, for models that are told."""
    name: str = ""
    """Which it is, for messages."""


class Items:
    """The items of several languages, numbered through, language after language."""

    languages: tuple[str, ...]
    """Codes."""
    counts: tuple[int, ...]
    """Items of each language."""
    tokens: tuple[int, ...]
    """Tokens of each language."""

    def __init__(self, parts: Sequence[tuple[str, Sequence[Item]]]) -> None:
        """Put languages together.

        Args:
            parts: Codes and items.

        Raises:
            InputError: There is nothing, or nothing of a language.
        """
        if not parts:
            raise InputError("There is nothing to train on. Give at least one language.")
        if empty := [code for code, items in parts if not items]:
            raise InputError(f"There is nothing to train on in {', '.join(empty)}. Leave it out.")
        self.languages = tuple(code for code, _ in parts)
        self.counts = tuple(len(items) for _, items in parts)
        self._firsts = np.cumsum([0, *self.counts])
        self._items = [item for _, items in parts for item in items]
        self._lengths = np.array([len(item.ids) for item in self._items], dtype=np.int64)
        bounds = zip(self._firsts[:-1], self._firsts[1:], strict=True)
        self.tokens = tuple(int(self._lengths[begin:end].sum()) for begin, end in bounds)

    def __len__(self) -> int:
        """Items of all languages."""
        return len(self._items)

    def __getitem__(self, text_id: int) -> Item:
        """One of them by its number."""
        return self._items[text_id]

    @property
    def longest(self) -> int:
        """Tokens of the longest."""
        return int(self._lengths.max())

    def lengths(self, language: int, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of some items of a language, (n,) to (n,)."""
        return np.asarray(self._lengths[self._firsts[language] + indices], dtype=np.int64)

    def get(self, language: int, index: int, epoch: int = 0) -> Example:
        """One by its language's number and its own within it."""
        number = int(self._firsts[language]) + index
        return Example(number, self.languages[language], self._items[number].ids, epoch)

    def locate(self, text_id: int) -> str:
        """Which one an id is, in words."""
        language = int(np.searchsorted(self._firsts, text_id, side="right")) - 1
        return f"{self.languages[language]}, {self._items[text_id].name or text_id}"

    def check_table(self, rows: int) -> None:
        """Refuse ids that an embedding table has no row for.

        Raises:
            InputError: There is one.
        """
        for number, item in enumerate(self._items):
            if len(item.ids) and int(item.ids.max()) >= rows:
                raise InputError(
                    f"{self.locate(number)} has the token id {int(item.ids.max())}, but the model's table has {rows} "
                    "rows. The tokenizer and the model do not belong together."
                )

    def fingerprint(self) -> dict[str, Any]:
        """A hash of each language's tokens and labels."""
        found = {}
        for number, code in enumerate(self.languages):
            digest = hashlib.sha256()
            for item in self._items[self._firsts[number] : self._firsts[number + 1]]:
                types = item.type_ids if item.type_ids is not None else np.zeros(0)
                for values in (item.ids, types, item.labels):
                    digest.update(len(values).to_bytes(4, "little"))
                    digest.update(np.asarray(values, dtype="<i8").tobytes())
            found[code] = digest.hexdigest()
        return found
