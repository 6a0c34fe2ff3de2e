"""What an alignment is given: vectors, lexicons and sentence pairs, by language."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.files import exists
from polycompress.embeddings.lexicons import Lexicon, has_language, read_lexicon
from polycompress.embeddings.loading import load_vectors
from polycompress.embeddings.vectors_directory import RECORD, LanguageFiles, load_directory
from polycompress.embeddings.word_splitting import splitter
from polycompress.embeddings.word_vectors import WordVectors, join
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.languages.finding import lookup_language

_LOOKED_AT = 20_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Given:
    """The vectors to align."""

    vectors: WordVectors
    files: Mapping[str, LanguageFiles]
    """By language; empty records for those of plain files."""
    target: Language
    others: tuple[Language, ...]


def read_given(specs: Sequence[str], to: str) -> Given:
    """Read the vectors of all languages.

    Args:
        specs: ``[LANG=]PATH`` of directories and files.
        to: The language whose space the others are brought to.

    Raises:
        InputError: One cannot be read, a language comes twice or is not known, ``to`` has no vectors, or there is no
            other.
    """
    parts: list[WordVectors] = []
    files: dict[str, LanguageFiles] = {}
    for spec in specs:
        language, path = parse_vectors(spec)
        if path.is_dir() and language is None:
            found = load_directory(path)
            parts.append(found.vectors)
            files.update(found.files)
        else:
            parts.append(load_vectors(path, language))
    vectors = join(parts)
    target = find_language(to)
    if target.code not in vectors.languages:
        raise InputError(
            f"--to {to}: there are no vectors of {target.code}, only of {', '.join(vectors.languages)}."
        )
    unknown = [code for code in vectors.languages if lookup_language(code) is None]
    if unknown:
        raise InputError(
            f"{', '.join(unknown)}: not in the registry of languages. Align a selection without them."
        )
    others = tuple(find_language(code) for code in vectors.languages if code != target.code)
    if not others:
        raise InputError(f"There are vectors of {target.code} alone, so there is nothing to align.")
    kept = {code: files.get(code, LanguageFiles()) for code in vectors.languages}
    return Given(vectors=vectors, files=kept, target=target, others=others)


def parse_vectors(spec: str) -> tuple[Language | None, Path]:
    """``[LANG=]PATH`` of a directory or a file.

    Raises:
        InputError: The language is unknown, or there is no such path.
    """
    name, equals, rest = spec.partition("=")
    if equals and os.sep not in name and not exists(Path(spec)):
        language, path = find_language(name), Path(rest).expanduser()
    else:
        language, path = None, Path(spec).expanduser()
    if not exists(path):
        raise InputError(
            f"{path}: no such file or directory. Give a directory with {RECORD}, or a file of vectors."
        )
    return language, path


def read_lexicons(specs: Iterable[str], given: Given, option: str) -> dict[str, list[tuple[str, str]]]:
    """Words and translations of each language that some files have.

    Args:
        specs: ``[LANG=]FILE``; without a language every language of the vectors that the file names.
        given: The vectors.
        option: What the user wrote them after.

    Raises:
        InputError: A file has none of the languages, or cannot be read.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for spec in specs:
        language, path = parse_vectors(spec)
        asked = (
            [language]
            if language is not None
            else [each for each in given.others if has_language(path, each)]
        )
        if not asked or (language is not None and language not in given.others):
            named = ", ".join(each.code for each in given.others)
            raise InputError(
                f"{option} {spec!r}: has no words of {named}; its first line has to name both languages, as in "
                f"'{given.target.iso639_1 or given.target.iso639_3}<tab>xx'. Add that line, or give a lexicon of one "
                f"with {given.target.code}."
            )
        for each in asked:
            found: Lexicon = read_lexicon(path, each, given.target)
            pairs.setdefault(each.code, []).extend(found.pairs)
    return {code: list(dict.fromkeys(found)) for code, found in pairs.items()}


def places(vectors: WordVectors, code: str) -> dict[str, int]:
    """Of each word of a language its place among the language's words."""
    return {vectors.words[row]: place for place, row in enumerate(vectors.rows(code).tolist())}


def by_frequency(vectors: WordVectors, code: str) -> NDArray[np.int64]:
    """Places among a language's words, most frequent first; the file's order where no counts are known."""
    rows = vectors.rows(code)
    if vectors.counts is None:
        return np.arange(len(rows))
    return np.argsort(-vectors.counts[rows], kind="stable")


def splitter_of(vectors: WordVectors, language: Language) -> Callable[[str], list[str]]:
    """Cut texts into words as the vectors' own were: lower-cased where these hold no capitals."""
    rows = vectors.rows(language.code)[:_LOOKED_AT].tolist()
    lower = all(vectors.words[row] == vectors.words[row].lower() for row in rows)
    return splitter(language, lower=lower)
