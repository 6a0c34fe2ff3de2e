"""A tiny world for tests: texts of languages that a tiny model does not know, and word vectors for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from polycompress.embeddings.vectors_directory import LanguageFiles, save_directory
from polycompress.embeddings.word_vectors import WordVectors
from tests.tiny_models import TEXTS

STEMS = {
    "yor-Latn": ("ilé", "ọmọ", "omi", "ọjà", "ìwé"),
    "ibo-Latn": ("ụlọ", "nwa", "mmiri", "ahịa", "akwụkwọ"),
}
ENGLISH = ("house", "child", "water", "market", "book")
ENDINGS = ("", "wa", "yin", "ko", "nla", "re")
DISTINCT = ("quick", "brown", "river", "lazy", "shore", "shells", "jumps", "near")


def words_of(code: str) -> list[str]:
    """Words of a language, stems with endings."""
    return [stem + ending for stem in STEMS[code] for ending in ENDINGS]


def write_corpora(directory: Path, texts: int = 600) -> list[str]:
    """Write texts of both languages, and two English ones; ``LANG=PATH`` of the former."""
    specs = []
    for code in STEMS:
        draw = np.random.default_rng(len(code) + ord(code[0]))
        words = words_of(code)
        lines = [" ".join(draw.choice(words, 6)) for _ in range(texts)]
        path = directory / f"{code}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        specs.append(f"{code}={path}")
    (directory / "eng-Latn.txt").write_text("\n".join(TEXTS[2:4]) + "\n", encoding="utf-8")
    return specs


def make_vectors(
    *, width: int = 8, languages: tuple[str, ...] = ("yor-Latn", "ibo-Latn", "eng-Latn")
) -> WordVectors:
    """Vectors in which words of one stem are near to each other and to the English word."""
    draw = np.random.default_rng(7)
    meanings = draw.standard_normal((len(ENGLISH) + len(DISTINCT), width))
    words: list[str] = []
    places, matrix = [], []
    for place, code in enumerate(languages):
        if code == "eng-Latn":
            own = [(word, number) for number, word in enumerate((*ENGLISH, *DISTINCT))]
        else:
            own = [(stem + ending, number) for number, stem in enumerate(STEMS[code]) for ending in ENDINGS]
        words += [word for word, _ in own]
        places += [place] * len(own)
        matrix += [meanings[number] + 0.1 * draw.standard_normal(width) for _, number in own]
    return WordVectors(
        words=tuple(words),
        languages=languages,
        language_of=np.array(places, np.int16),
        matrix=np.array(matrix, np.float32),
        counts=np.arange(len(words), 0, -1, dtype=np.int64),
    )


def write_vectors(directory: Path, vectors: WordVectors | None = None, to: str | None = "eng-Latn") -> Path:
    """Write a directory of vectors."""
    given = make_vectors() if vectors is None else vectors
    directory.mkdir(parents=True)
    save_directory(directory, given, {code: LanguageFiles() for code in given.languages}, {"to": to})
    return directory
