"""The tokenizers library: a tokenizer opened, and what its encodings say of words and places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from polycompress.errors import InputError
from polycompress.evaluation.windows import NOWHERE, without_leading_space


def open_tokenizer(document: bytes | str | Tokenizer) -> Tokenizer:
    """A tokenizer from the content of ``tokenizer.json``; one that is open already stays as it is.

    Raises:
        InputError: The library refuses it.
    """
    if not isinstance(document, bytes | str):
        return document
    try:
        raw = document if isinstance(document, bytes) else document.encode()
        tokenizer: Tokenizer = Tokenizer.from_buffer(raw)
    except BaseException as error:  # the library panics on some states
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise InputError(
            f"tokenizer.json: the tokenizers library refuses it: {error}. Restore the file."
        ) from error
    return tokenizer


def token_words(encoding: Encoding) -> NDArray[np.int32]:
    """(T,) number of each token's word, -1 for special tokens."""
    return np.array([NOWHERE if word is None else word for word in encoding.word_ids], dtype=np.int32)


def context_spans(encoding: Encoding, context: str) -> NDArray[np.int32]:
    """(T, 2) spans of the context's tokens, -1 for others.

    Raises:
        InputError: The tokenizer gives none.
    """
    spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    own = np.array([sequence == 1 for sequence in encoding.sequence_ids], dtype=bool)
    if own.any() and not (spans[own, 1] > spans[own, 0]).any() and context.strip():
        raise InputError(
            "tokenizer.json: the tokenizer cannot say where in a text its tokens stand (it gives no offsets), which "
            "answering questions needs. Use a model with a tokenizer of the tokenizers library."
        )
    spans[~own] = NOWHERE
    return without_leading_space(spans, context)
