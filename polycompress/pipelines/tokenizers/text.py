"""Text for tokenizers: what pieces are found in, what they are chosen by, what the result is judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from polycompress.corpora import CorpusSpec, TextReader, is_held_out, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import Language, find_language, where_text_is
from polycompress.vocab.frequencies import weighted_forms, word_buckets
from polycompress.vocab.held_out import HELD_OUT_SHARE, Sample

CHOOSING_SHARE: Final = 0.24
"""Texts whose hash lies below this and which are not held out choose pieces: about a fifth."""
MAX_CHARACTERS: Final = 64_000_000
"""Of a language that are read; what comes after is left out, and that is told."""
CHECK_TEXTS: Final = 5000
"""Texts of a corpus that segmentation is compared on, those with the smallest hashes."""
CHECK_FORMS: Final = 20_000
"""Word forms of the built-in frequencies that it is compared on, the most frequent."""
DEFAULT_CHECKS: Final = ("en", "de", "fr", "es", "ru")
"""Languages whose segmentation is compared where none is named, by their word frequencies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageText:
    """The text of one language, in three parts by the hashes of the texts."""

    language: Language
    training: tuple[str, ...]
    """To find pieces in."""
    choosing: tuple[str, ...]
    """To choose pieces by."""
    held_out: tuple[str, ...]
    """To report on; never read for anything else."""
    files: tuple[Mapping[str, Any], ...] = field(default=())
    """Name, bytes and SHA-256 of each file."""
    cut: bool = False
    """Whether there was more than ``MAX_CHARACTERS``."""

    @property
    def characters(self) -> int:
        """Of the texts to find pieces in."""
        return sum(map(len, self.training))

    def as_dict(self) -> dict[str, Any]:
        """What was read, for the record."""
        return {
            "training_texts": len(self.training),
            "choosing_texts": len(self.choosing),
            "held_out_texts": len(self.held_out),
            "files": [dict(file) for file in self.files],
            "cut": self.cut,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Text of a language whose segmentation is to stay as it is."""

    language: Language
    texts: Mapping[str, float]
    """With their weights."""
    source: str
    """What they are."""


def corpus_languages(specs: Sequence[str]) -> tuple[Language, ...]:
    """The languages that ``LANG=PATTERN`` arguments name.

    Raises:
        InputError: One names none, or none that is known.
    """
    found: dict[str, Language] = {}
    for spec in specs:
        name, equals, _ = spec.partition("=")
        if not equals:
            raise InputError(
                f"--corpus {spec!r} does not say its language: write it like --corpus yo={spec!r}"
            )
        language = find_language(name)
        found[language.code] = language
    if not found:
        raise InputError("no text was given. Give some for each language: --corpus yo='texts/yo.txt.gz'")
    return tuple(found.values())


def read_languages(
    languages: Sequence[Language], corpora: Sequence[CorpusSpec], *, to_learn: bool = True
) -> list[LanguageText]:
    """Read the text of each language.

    Args:
        languages: In the order wanted.
        corpora: Their files.
        to_learn: Whether pieces are to be found in it, so that there must be some in each part.

    Returns:
        One record for each language.

    Raises:
        InputError: Some have no corpus or no text to find pieces in (all are named), or a file cannot be read.
    """
    bare = [each for each in languages if not any(spec.language == each for spec in corpora)]
    if bare:
        wanted = "; ".join(f"{each.name}: --corpus {each.code}='FILES'{where_text_is(each)}" for each in bare)
        raise InputError(f"there is no text of {len(bare)} language{'s' if len(bare) > 1 else ''}. {wanted}")
    texts = [_read(each, [spec for spec in corpora if spec.language == each]) for each in languages]
    empty = [text.language.code for text in texts if not (text.training and text.choosing and text.held_out)]
    if to_learn and empty:
        raise InputError(
            f"too little text to find pieces in, to choose them by and to judge them on: {', '.join(empty)}. A "
            "corpus has one text a line, a hundred lines at the very least"
        )
    return texts


def default_checks(languages: Sequence[Language]) -> list[str]:
    """The languages whose segmentation is compared where none is named, but those that get pieces."""
    return [name for name in DEFAULT_CHECKS if find_language(name) not in languages]


def read_checks(specs: Sequence[str], *, default: Sequence[str] = ()) -> list[Check]:
    """Read ``LANG`` or ``LANG=PATTERN``: texts of languages whose segmentation is compared.

    Args:
        specs: The arguments; a language alone stands for its built-in word frequencies.
        default: Languages that are meant where nothing is given.

    Raises:
        InputError: A language is unknown, has no built-in frequencies and no pattern, or a file cannot be read.
    """
    checks = []
    for spec in specs or default:
        name, equals, _ = spec.partition("=")
        language = find_language(name)
        if not equals:
            checks.append(_words(language))
            continue
        sample = Sample(CHECK_TEXTS)
        for corpus in parse_corpora([spec], [language], option="--check"):
            for text in TextReader(corpus.files, corpus.reading):
                sample.add(text)
        weights: dict[str, float] = {}
        for text in sample.texts():
            weights[text] = weights.get(text, 0.0) + 1.0
        checks.append(Check(language=language, texts=weights, source="texts"))
    return checks


def _words(language: Language) -> Check:
    forms = weighted_forms(word_buckets(language), language, CHECK_FORMS)
    weights: dict[str, float] = {}
    for centibels, group in forms.groups.items():
        for form in group:
            weights[form] = weights.get(form, 0.0) + 10 ** (-centibels / 100)
    return Check(language=language, texts=weights, source="built-in word frequencies")


def _read(language: Language, corpora: Sequence[CorpusSpec]) -> LanguageText:
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    files: list[Mapping[str, Any]] = []
    read, cut = 0, False
    for spec in corpora:
        reader = TextReader(spec.files, spec.reading)
        for text in () if cut else reader:
            read += len(text)
            if cut := read > MAX_CHARACTERS:
                break
            place = 2 if is_held_out(text, HELD_OUT_SHARE) else int(is_held_out(text, CHOOSING_SHARE))
            parts[place].append(text)
        files += reader.provenance()
    training, choosing, held_out = map(tuple, parts)
    return LanguageText(
        language=language,
        training=training,
        choosing=choosing,
        held_out=held_out,
        files=tuple(files),
        cut=cut,
    )
