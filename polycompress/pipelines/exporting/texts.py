"""Sentences on which an exported model is compared with its source: the user's own, else words of its languages."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import find_files, read_texts
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.modeldir.figures import join, language_entries
from polycompress.vocab.frequencies import held_out_words

TEXTS: Final = 64
"""Sentences that are compared, at most."""
_WORDS: Final = (3, 8, 14)
"""Words of the sentences that are made of a list, in turns."""
_OTHERWISE: Final = ("eng-Latn", "deu-Latn", "rus-Cyrl", "arb-Arab", "zho-Hans", "tur-Latn")
"""Languages whose words are taken where the model's own have no list."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts, and where they are from."""

    texts: tuple[str, ...]
    origin: str


def find_sample(patterns: Sequence[str | os.PathLike[str]], manifest: Mapping[str, Any]) -> Sample:
    """Choose the texts.

    Args:
        patterns: Text files, ``[LANG=]PATTERN``, one text a line; the first lines are taken, of each as many.
        manifest: Of the model, which may name its languages.

    Raises:
        InputError: A file is missing or damaged, or there is no line in it, or a language is none.
    """
    if patterns:
        return Sample(tuple(_lines([os.fspath(each) for each in patterns])), "lines of the given text")
    own = [each for each in map(_language, language_entries(manifest)) if each is not None and each.wordfreq]
    languages = own or [find_language(code) for code in _OTHERWISE]
    share = -(-TEXTS // len(languages))
    texts = [text for language in languages for text in _sentences(language, share)]
    names = join([language.name for language in languages])
    return Sample(tuple(texts[:TEXTS]), f"words of the frequency lists of {names}, put in rows")


def _lines(patterns: Sequence[str]) -> list[str]:
    share = -(-TEXTS // len(patterns))
    texts: list[str] = []
    for pattern in patterns:
        lines = (line for line in read_texts(find_files(_unnamed(pattern), option="--text")) if line.strip())
        texts += itertools.islice(lines, share)
    return texts[:TEXTS]


def _unnamed(pattern: str) -> str:
    """A pattern without the language before it, which must be one; which it is makes no difference here."""
    name, is_named, rest = pattern.partition("=")
    if not is_named or Path(pattern).exists():
        return pattern
    find_language(name)
    return rest


def _sentences(language: Language, count: int) -> list[str]:
    words = iter(held_out_words(language))
    rows = [
        list(itertools.islice(words, length)) for length in itertools.islice(itertools.cycle(_WORDS), count)
    ]
    return [" ".join(row) for row in rows if row]


def _language(entry: Mapping[str, Any]) -> Language | None:
    """A language of a manifest, which is untrusted; None: none that is known."""
    try:
        return find_language(str(entry.get("code")))
    except InputError:
        return None
