"""Choices that depend on a text alone: the same on every machine, in every order, for every copy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

_SAMPLING: Final = b"polycompress"
DIGEST_BYTES: Final = 16


def is_held_out(text: str, share: float) -> bool:
    """Whether a text belongs to the share that is kept out of counting.

    The answer depends on the text alone: it is the same on every machine, in every order, for every copy.

    Args:
        text: One line.
        share: Of all texts, 0 to 1.
    """
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def sampled(texts: Iterable[str], share: float, seed: int) -> list[str]:
    """The texts that belong to a share of all; a larger share of the same seed holds the same and more.

    The choice is independent of the one that ``is_held_out`` makes.

    Args:
        texts: Lines.
        share: 0 to 1.
        seed: 0 to 2 ** 64 - 1; another one chooses others.
    """
    limit, salt, blake2b = share * 2**64, seed.to_bytes(8, "big"), hashlib.blake2b
    return [
        text
        for text in texts
        if int.from_bytes(
            blake2b(
                text.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt, person=_SAMPLING
            ).digest(),
            "big",
        )
        < limit
    ]


def digests(texts: Iterable[str]) -> bytes:
    """``DIGEST_BYTES`` of each text, joined; equal texts have equal ones, others do not."""
    blake2b = hashlib.blake2b
    return b"".join(
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest() for text in texts
    )
