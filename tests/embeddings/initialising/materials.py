"""Small materials made on the spot."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.matching import Vocabulary, match_tokens
from polycompress.embeddings.initialising.material import Material, Space

SOURCE = 40
TARGET = 60
SPECIAL = 3
SHARED = 12
"""Target tokens 3 to 11 have the form of the source tokens of the same number."""


def space(draw: np.random.Generator, rows: int, width: int = 6, share: float = 0.8) -> Space:
    """Vectors of which some rows are missing."""
    covered = draw.random(rows) < share
    vectors = (draw.standard_normal((rows, width)) * covered[:, None]).astype(np.float32)
    return Space(vectors=vectors, covered=covered)


def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    """A source and a target that share special tokens and a few others."""
    names = {number: f"<{number}>" for number in range(SPECIAL)}
    source = [None if number in names else f"s{number}".encode() for number in range(SOURCE)]
    target = [
        None if number in names else (f"s{number}" if number < SHARED else f"t{number}").encode()
        for number in range(TARGET)
    ]
    return Vocabulary(forms=source, names=names), Vocabulary(forms=target, names=names)


def material(seed: int = 0, **changes: object) -> Material:
    """Everything that any way needs."""
    draw = np.random.default_rng(seed)
    source, target = vocabularies()
    fields = {
        "matched": match_tokens(source, target),
        "textual": source.textual,
        "source": space(draw, SOURCE),
        "target": space(draw, TARGET),
        "auxiliary": space(draw, TARGET),
        "source_pieces": [draw.integers(0, SOURCE, draw.integers(0, 5)).tolist() for _ in range(TARGET)],
    }
    return Material(**{**fields, **changes})  # type: ignore[arg-type]


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """All of them, by the definition; 0 where a vector is."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    found: NDArray[np.float64] = np.divide(
        a @ b.T, lengths, out=np.zeros((len(a), len(b))), where=lengths > 0
    )
    return found
