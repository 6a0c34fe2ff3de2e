"""The families that were asked for, and how much text there is of each language."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.corpora.unpacking import unpacked_lines
from polycompress.errors import InputError
from polycompress.languages import PRESETS, Language, find_language, select_languages
from polycompress.languages.finding import shortened
from polycompress.modeldir.paths import user_path
from polycompress.moe.families import FamilyTable, assign_families, parse_family_table
from polycompress.pipelines.trimming.gathering import Progress, count_corpus, counts_from_files
from polycompress.pipelines.trimming.loading import Vocabulary
from polycompress.vocab.merging import merge_named_counts

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def load_families(spec: str | os.PathLike[str]) -> str | FamilyTable:
    """A preset, or the table of one's own that a file holds.

    Args:
        spec: A name of ``PRESETS``, or a file of a language and its family a line, with a tab between.

    Raises:
        InputError: It is neither (the nearest preset is named), or the file is wrong.
    """
    import difflib

    text = os.fspath(spec)
    if text in PRESETS:
        return text
    path = user_path(text)
    if path.is_file():
        return parse_family_table(unpacked_lines(path), str(path))
    near = difflib.get_close_matches(shortened(text).casefold(), PRESETS, n=1, cutoff=0.4)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise InputError(
        f"--families {shortened(text)!r}: neither a preset nor a file.{guess} Presets are {', '.join(PRESETS)}; a file "
        "has a language and its family on each line, with a tab between."
    )


def asked_families(
    langs: str | Sequence[str], families: str | FamilyTable, unknown: str | None
) -> dict[str, str]:
    """The languages that were asked for and the family of each.

    Args:
        langs: Codes, names and families, as a list or joined by commas; none: all of a table of one's own.
        families: See ``load_families``.
        unknown: See ``assign_families``.

    Raises:
        InputError: No language was given, or one is unknown or in no family.
    """
    text = langs if isinstance(langs, str) else ",".join(langs)
    if text.strip():
        languages = select_languages(text)
    elif isinstance(families, FamilyTable):
        languages = tuple(map(find_language, families.families))
    else:
        raise InputError(
            "No language was given: name those that the model is to serve with --langs, as codes, names or families."
        )
    return assign_families(languages, families, unknown)


def find_corpora(
    languages: Sequence[Language],
    corpus: str | Sequence[str],
    field: str | None,
    *,
    asked_with: str = "--langs",
) -> tuple[CorpusSpec, ...]:
    """The text that was given, as ``parse_corpora`` finds it.

    Raises:
        InputError: See there.
    """
    specs = [corpus] if isinstance(corpus, str) else list(corpus)
    return parse_corpora(specs, languages, asked_with=asked_with, reading=Reading(field=field))


def count_tokens(
    vocabulary: Vocabulary,
    languages: Sequence[Language],
    corpora: Sequence[CorpusSpec],
    counts: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, float] | None:
    """How many tokens there are of each language.

    Args:
        vocabulary: The model's tokenizer.
        languages: Those asked for.
        corpora: Text.
        counts: Files that ``polycompress count`` wrote; they add to the text.
        progress: Called as work goes on.

    Returns:
        By code, of the languages that there is text or counts of; None where nothing was given.

    Raises:
        InputError: A file cannot be read, counts are of another tokenizer, or partly of the same text.
    """
    if not corpora and not counts:
        return None
    held = counts_from_files(counts, vocabulary, languages)
    found: dict[str, float] = {code: each.tokens for code, each in held.items()}
    for language in languages:
        own = [spec for spec in corpora if spec.language == language]
        files = [file for spec in own for file in spec.files]
        if files:
            counted = count_corpus(vocabulary, files, progress, own[0].reading)
            parts = [("--counts", held[language.code])] if language.code in held else []
            found[language.code] = merge_named_counts([*parts, ("--corpus", counted)]).tokens
    return found


def language_records(codes: Iterable[str]) -> list[dict[str, str]]:
    """Code and name of languages, as manifests have them."""
    return [{"code": code, "name": find_language(code).name} for code in codes]


def path_list(given: Paths) -> list[str]:
    """One path or several as a list."""
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]
