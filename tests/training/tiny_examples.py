"""Examples of given lengths, written as the tokeniser would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polycompress.training.examples import FORMAT, IDS, META, OFFSETS, TEXTS, Examples, LanguageExamples

FIRST_WORD = 5
"""Ids below are special."""


def write_examples(directory: Path, lengths: Mapping[str, Sequence[int]], vocab_size: int = 100) -> Examples:
    """Examples of random ordinary ids between 0 (first) and 2 (last), one text each."""
    rng = np.random.default_rng(0)
    parts = []
    for code, sizes in lengths.items():
        path = directory / code
        path.mkdir(parents=True)
        rows = [rng.integers(FIRST_WORD, vocab_size, size) for size in sizes]
        for row in rows:
            row[0] = 0
            row[-1] = 2
        flat = np.concatenate(rows)
        flat.astype("<u4").tofile(path / IDS)
        np.cumsum([0, *sizes]).astype("<i8").tofile(path / OFFSETS)
        np.arange(len(sizes)).astype("<i8").tofile(path / TEXTS)
        meta = {
            "format": FORMAT,
            "language": code,
            "examples": len(sizes),
            "tokens": int(sum(sizes)),
            "longest": max(sizes),
            "highest_id": int(flat.max()),
            "files": [{"name": f"{code}.txt", "texts": len(sizes)}],
        }
        (path / META).write_text(json.dumps(meta), encoding="utf-8")
        parts.append(LanguageExamples(path))
    return Examples(parts)
