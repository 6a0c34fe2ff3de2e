"""Run the tokenizers library over text: its errors become ours, and it works while Python prepares what comes next."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, PolycompressError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

LINES_PER_BATCH: Final = 2048
CHARACTERS_PER_BATCH: Final = 1 << 19
"""The library takes about 100 bytes for each token of a batch."""
KEPT_TOKENS: Final = 1 << 20
PENDING: Final = 16
"""Batches of lines that may wait while the next one is prepared."""


@contextmanager
def segmenting() -> Iterator[None]:
    """Turn what the tokenizers library raises while it segments text into errors of ours.

    Raises:
        InputError: It refuses: the tokenizer has no token for something in the text and none for the unknown.
        PolycompressError: It panics.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"tokenizer.json: the tokenizers library cannot segment text with it: {error}. Check the tokenizer with "
            "some text of your own; a model that names its unknown token can segment any"
        ) from error
    except BaseException as error:  # a panic of the library is no Exception
        raise PolycompressError(
            f"tokenizer.json: the tokenizers library panicked while segmenting text with it: {error}. The file is "
            "damaged, or this is a bug of that library; fetch the file again, or try another version of tokenizers"
        ) from error


def batched(items: Iterable[str], size: int, characters: int = CHARACTERS_PER_BATCH) -> Iterator[list[str]]:
    """Lists of at most ``size`` items, shorter where these hold more than some characters.

    Args:
        items: Texts.
        size: Of a list.
        characters: Of a list of more than one item.
    """
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        ends = list(itertools.accumulate(map(len, batch)))
        begin = before = 0
        while begin < len(batch):
            end = max(bisect.bisect_right(ends, before + characters), begin + 1)
            yield batch[begin:end]
            begin, before = end, ends[end - 1]


def encode(tokenizer: Tokenizer, lines: Sequence[str]) -> list[Encoding]:
    """Segment lines on all cores, without special tokens; for ``Raises`` see ``segmenting``."""
    with segmenting():
        encodings: list[Encoding] = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    return encodings


def encode_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[int]]:
    """Token ids of every text, without special tokens, a batch at a time on all cores."""
    for batch in batched(texts, LINES_PER_BATCH):
        for encoding in encode(tokenizer, batch):
            yield encoding.ids


def flat_ids(encodings: Iterable[Encoding]) -> NDArray[np.int64]:
    """(n,) the token ids of encodings, one after the other."""
    return np.fromiter(itertools.chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int64)


class TokenCounter:
    """Adds up the tokens of lines in threads of its own; leaving the ``with`` block waits for them.

    The library works without Python's lock: while one thread waits for it, the other adds up what came before, and
    the caller prepares what comes next.
    """

    def __init__(self, tokenizer: Tokenizer, totals: NDArray[Any]) -> None:
        self.totals = totals
        """(V,) counts; whole once the block is left."""
        self._tokenizer = tokenizer
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="segmenting")
        self._lock = threading.Lock()
        self._kept: list[NDArray[np.int64]] = []
        self._pending: deque[Future[None]] = deque()

    def add(self, lines: Sequence[str], weights: Sequence[float] | None = None) -> None:
        """Count lines.

        Args:
            lines: A batch, of ``batched``.
            weights: One for each line; all are 1 where it is None. Sums are exact below 2 ** 53.

        Raises:
            InputError: The tokenizer cannot segment these lines or ones given before.
            PolycompressError: It panics.
        """
        self._pending.append(self._threads.submit(self._count, lines, weights))
        while len(self._pending) > PENDING or self._pending[0].done():
            self._pending.popleft().result()
            if not self._pending:
                break

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while kind is None and self._pending:
                self._pending.popleft().result()
        finally:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._add_kept()

    def _count(self, lines: Sequence[str], weights: Sequence[float] | None) -> None:
        encodings = encode(self._tokenizer, lines)
        if weights is None:
            self._keep(flat_ids(encodings))
            return
        ids = [encoding.ids for encoding in encodings]
        flat = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64)
        each = np.repeat(weights, list(map(len, ids)))
        found = np.bincount(flat, each, minlength=len(self.totals)).astype(self.totals.dtype)
        with self._lock:
            self.totals += found

    def _keep(self, ids: NDArray[np.int64]) -> None:
        """Gather ids of weight 1: adding up over a large vocabulary takes as long for few as for many."""
        with self._lock:
            self._kept.append(ids)
            if sum(map(len, self._kept)) >= KEPT_TOKENS:
                self._add_kept()

    def _add_kept(self) -> None:
        if self._kept:
            found = np.bincount(np.concatenate(self._kept), minlength=len(self.totals))
            self.totals += found.astype(self.totals.dtype)
            self._kept.clear()
