"""Read ``[LANG=]PATTERN``: which files or which data set hold the text of which language."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from polycompress.corpora.files import exists, find_files
from polycompress.corpora.hub_datasets import SCHEME, DatasetSpec, parse_dataset
from polycompress.corpora.reading import Reading
from polycompress.errors import InputError
from polycompress.languages import Language, find_language


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """Files of one language, or one data set."""

    language: Language
    pattern: str
    """As the user wrote it, without the language."""
    files: tuple[Path, ...]
    """Sorted; at least one, but none where there is a data set."""
    dataset: DatasetSpec | None = None
    reading: Reading = field(default_factory=Reading)


def parse_corpora(
    specs: Sequence[str],
    languages: Sequence[Language],
    *,
    option: str = "--corpus",
    asked_with: str = "--langs",
    datasets: bool = False,
    reading: Reading | None = None,
) -> tuple[CorpusSpec, ...]:
    """Read ``[LANG=]PATTERN`` arguments and find their files.

    A file that several patterns of a language name counts once.

    Args:
        specs: The arguments; for patterns see ``find_files``, for data sets ``parse_dataset``.
        languages: The languages asked for; a pattern without ``LANG=`` is legal only where it is one.
        option: What the user wrote them after, for messages.
        asked_with: What the user wrote the languages after, for messages.
        datasets: Whether the caller can read data sets.
        reading: How the files become texts, where that was said.

    Raises:
        InputError: An unknown language or one not asked for, no language where it is needed, no such file, or
            nothing in the files; a data set where only files are read.
    """
    found = []
    how = reading or Reading()
    taken: set[tuple[str, Path | DatasetSpec]] = set()
    for spec in specs:
        language, pattern = _split_spec(spec, languages, option, asked_with)
        if pattern.startswith(SCHEME):
            if not datasets:
                raise InputError(
                    f"{option} {pattern!r}: data sets are read by polycompress count. Count it, then give the "
                    "counts file with --counts."
                )
            dataset = parse_dataset(pattern, option)
            if (language.code, dataset) not in taken:
                found.append(CorpusSpec(language, pattern, (), dataset, how))
            taken.add((language.code, dataset))
            continue
        new = [file for file in find_files(pattern, option) if (language.code, file.absolute()) not in taken]
        taken.update((language.code, file.absolute()) for file in new)
        if new:
            found.append(CorpusSpec(language, pattern, tuple(new), reading=how))
    return tuple(found)


def corpus_arguments(corpus: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """``[LANG=]PATTERN`` arguments, whether one was given or several, as text or as paths."""
    given = [corpus] if isinstance(corpus, str | os.PathLike) else corpus
    return [os.fspath(each) for each in given]


def _split_spec(
    spec: str, languages: Sequence[Language], option: str, asked_with: str
) -> tuple[Language, str]:
    name, equals, pattern = spec.partition("=")
    asked = ", ".join(language.code for language in languages)
    if equals and os.sep not in name and not exists(Path(spec)):
        language = find_language(name)
        if language not in languages:
            raise InputError(
                f"{option} {spec!r} is {language.name} ({language.code}), which was not asked for: "
                f"add it to {asked_with} (now {asked or 'empty'}) or leave it out."
            )
    elif len(languages) == 1:
        language, pattern = languages[0], spec
    else:
        example = languages[0].code if languages else "deu-Latn"
        raise InputError(
            f"{option} {spec!r} does not say its language, and there are {len(languages)} ({asked}): "
            f"write {option} {example}={spec!r}."
        )
    if not pattern:
        raise InputError(f"{option} {spec!r} names no file: write it like {language.code}='texts/*.txt.gz'.")
    return language, pattern
