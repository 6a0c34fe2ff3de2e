"""The texts that are kept out of counting: which ones, and which of them are remembered."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable
from typing import Final

HELD_OUT_SHARE: Final = 0.05
"""Of a corpus; never counted. Which texts these are, ``corpora.is_held_out`` says."""
HELD_OUT_TEXTS: Final = 2000
"""At most so many of them are remembered per language, those with the smallest hashes."""


class Sample:
    """The texts with the smallest hashes: the same ones in whatever order they come."""

    def __init__(self, size: int = HELD_OUT_TEXTS) -> None:
        self._size = size
        self._heap: list[tuple[int, str]] = []

    def add(self, text: str) -> None:
        """Take a text, or not."""
        entry = (-zlib.crc32(text.encode()), text)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def texts(self) -> tuple[str, ...]:
        """Those taken, the smallest hash first; equal texts stand as often as they came."""
        return tuple(text for _, text in sorted(self._heap, reverse=True))


def merge_samples(samples: Iterable[Iterable[str]], size: int = HELD_OUT_TEXTS) -> tuple[str, ...]:
    """The sample of the union of what some samples were drawn from; each of these has ``size`` texts if it can."""
    merged = Sample(size)
    for texts in samples:
        for text in texts:
            merged.add(text)
    return merged.texts()
