"""Words and their translations: bilingual lists, and Swadesh lists of many languages."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import regex

from polycompress.corpora.hashing import is_held_out
from polycompress.corpora.unpacking import unpacked_lines
from polycompress.embeddings.swadesh import GLOSSES
from polycompress.embeddings.word_splitting import lowered
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.languages.finding import lookup_language

SWADESH: Final = ("iso639_3", "concept", "eng", "word")
"""Header of a Swadesh list."""
MAX_PAIRS: Final = 2_000_000
HELD_OUT_SHARE: Final = 0.1
"""Of a lexicon's target words, where no other lexicon is there to judge by."""
_WORD: Final = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’ʼ‘\-\u200c·.][\p{L}\p{M}\p{N}]+)*")
_SHOWN: Final = 5

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words of a language and their translations."""

    pairs: tuple[tuple[str, str], ...]
    """Word and translation, as written (NFC); a word may have several."""
    left_out: int
    """Entries that are not one word on each side."""


def read_lexicon(path: Path, language: Language, to: Language) -> Lexicon:
    """Read what a file has for two languages.

    Args:
        path: Plain or compressed. Either two columns with a tab between, whose first line names both languages; or a
            Swadesh list with the columns ``iso639_3 concept eng word``, of which the words of one concept are
            translations of each other (of English its usual names of the concepts are taken).
        language: Of the words.
        to: Of the translations.

    Raises:
        InputError: A line has no tab or another number of columns (all such, by number), the first line does not name
            the two languages, the file has nothing of them, or cannot be read.
    """
    lines = enumerate(unpacked_lines(path), start=1)
    first = next(lines, None)
    header = tuple(cell.strip() for cell in first[1].split("\t")) if first is not None else ()
    if header == SWADESH:
        found = _swadesh(_rows(lines, len(SWADESH), path), language, to)
    else:
        found = _two_columns(_rows(lines, 2, path), header, path, language, to)
    pairs = tuple(dict.fromkeys(pair for pair in found if all(map(_WORD.fullmatch, pair))))
    if not pairs:
        raise InputError(
            f"{path}: holds no words of {language.name} ({language.code}) with one of {to.name} ({to.code})."
        )
    return Lexicon(pairs, len(set(found)) - len(pairs))


def has_language(path: Path, language: Language) -> bool:
    """Whether a file is a Swadesh list with words of a language, or a list of two languages of which it is one.

    Raises:
        InputError: The file cannot be read.
    """
    lines = unpacked_lines(path)
    header = tuple(cell.strip() for cell in next(lines, "").split("\t"))
    if header == SWADESH:
        start = f"{language.iso639_3}\t"
        return any(line.startswith(start) for line in lines)
    return any(lookup_language(cell) == language for cell in header)


def as_known(
    pairs: Sequence[tuple[str, str]], words: Mapping[str, int], translations: Mapping[str, int]
) -> Pairs:
    """Pairs in the spelling that the vocabularies have: as written, else lower-cased; else lower-cased all the same.

    Args:
        pairs: Words and translations, NFC.
        words: The one vocabulary.
        translations: The other.
    """
    return list(
        dict.fromkeys(
            (
                word if word in words else lowered(word),
                translation if translation in translations else lowered(translation),
            )
            for word, translation in pairs
        )
    )


def parted(
    pairs: Sequence[tuple[str, str]], share: float = HELD_OUT_SHARE, seed: int = 0
) -> tuple[Pairs, Pairs]:
    """Pairs to learn from and pairs to judge by, which have no translation in common.

    Which share a pair falls to depends on its translation and the seed alone.
    """
    learn: Pairs = []
    judge: Pairs = []
    for pair in pairs:
        (judge if is_held_out(f"{seed}\t{pair[1]}", share) else learn).append(pair)
    return learn, judge


def _rows(lines: Iterator[tuple[int, str]], columns: int, path: Path) -> list[list[str]]:
    rows, faults = [], []
    for number, line in lines:
        if not line.strip():
            continue
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in line.split("\t")]
        if len(cells) != columns:
            faults.append((number, len(cells)))
        rows.append(cells)
        if len(rows) > MAX_PAIRS:
            raise InputError(
                f"{path}: has more than {MAX_PAIRS} lines, too many for a lexicon. Give a shorter one."
            )
    if faults:
        told = ", ".join(
            f"line {number} has no tab" if found == 1 else f"line {number} has {found} columns"
            for number, found in faults[:_SHOWN]
        )
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(f"{path}: {told}{more}: write {columns} columns with tabs between.")
    return rows


def _two_columns(
    rows: list[list[str]], header: tuple[str, ...], path: Path, language: Language, to: Language
) -> Pairs:
    named = [lookup_language(cell) if cell else None for cell in header]
    if named == [to, language]:
        return [(second, first) for first, second in rows]
    if named == [language, to]:
        return [(first, second) for first, second in rows]
    raise InputError(
        f"{path}: its first line is {chr(9).join(header)[:60]!r}: it has to name the languages of the two columns, "
        f"here {to.code} and {language.code}, with a tab between."
    )


def _swadesh(rows: list[list[str]], language: Language, to: Language) -> Pairs:
    of: dict[str, dict[str, list[str]]] = {language.iso639_3: {}, to.iso639_3: {}}
    for code, concept, _, word in rows:
        if code in of:
            of[code].setdefault(concept, []).append(word)
    goals = of[to.iso639_3]
    if to.iso639_3 == "eng":
        for number, names in enumerate(GLOSSES, start=1):
            goals[str(number)] = [*goals.get(str(number), []), *names.split("/")]
    return [
        (word, goal)
        for concept, words in of[language.iso639_3].items()
        for word in words
        for goal in goals.get(concept, ())
    ]
