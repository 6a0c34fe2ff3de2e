"""The text that a run is given: found by language before anything is loaded, and told by its files in identities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polycompress.corpora import CorpusSpec, PairSpec, Reading, parse_corpora, read_texts
from polycompress.errors import InputError
from polycompress.languages import Language


def find_text(
    corpus: str | Sequence[str], languages: Sequence[Language], reading: Reading, *, asked_with: str
) -> tuple[CorpusSpec, ...]:
    """Text of every language.

    Args:
        corpus: ``[LANG=]PATTERN`` of text files.
        languages: Those asked for.
        reading: How files become texts.
        asked_with: What the user wrote the languages after, for messages.

    Raises:
        InputError: A language has none, all such are named; or a pattern is wrong.
    """
    found = parse_corpora(_patterns(corpus), languages, asked_with=asked_with, reading=reading)
    without = [language for language in languages if all(spec.language != language for spec in found)]
    if without:
        names = " and ".join(language.name for language in without)
        options = " ".join(f"--corpus {language.code}='FILES'" for language in without)
        raise InputError(
            f"There is no text of {names}: give some with {options}, or other languages with {asked_with}."
        )
    return found


def check_texts(corpora: Sequence[CorpusSpec]) -> None:
    """Refuse text that cannot be read, or of which there is none; of each corpus the first text is read.

    Raises:
        InputError: There is such a file.
    """
    for spec in corpora:
        next(iter(read_texts(spec)), None)


def find_held_out(
    held_out: str | Sequence[str], languages: Sequence[Language], reading: Reading, *, asked_with: str
) -> tuple[CorpusSpec, ...]:
    """Text to measure the loss on, of any of the languages; see ``find_text``.

    Raises:
        InputError: A pattern is wrong.
    """
    return parse_corpora(
        _patterns(held_out), languages, option="--held-out", asked_with=asked_with, reading=reading
    )


def files_of(corpora: Sequence[CorpusSpec]) -> list[list[Any]]:
    """Language, name and bytes of each file, for identities."""
    return [[spec.language.code, file.name, file.stat().st_size] for spec in corpora for file in spec.files]


def files_of_pairs(pairs: Sequence[PairSpec]) -> list[list[Any]]:
    """Languages, names and bytes of the files of each part, for identities."""
    return [
        [spec.name, [[file.name, file.stat().st_size] for file in part]]
        for spec in pairs
        for part in spec.files
    ]


def _patterns(given: str | Sequence[str]) -> Sequence[str]:
    return [given] if isinstance(given, str) else given
