"""Values that a shell completes: codes of languages, ids of tasks."""

from __future__ import annotations

from collections.abc import Iterator

from polycompress.resources import data_path


def complete_languages(incomplete: str) -> Iterator[tuple[str, str]]:
    """Codes joined by commas: what may follow what is typed, each with the language's name."""
    from polycompress.languages import all_languages
    from polycompress.languages.finding import lookup_language

    before, comma, begun = incomplete.rpartition(",")
    for language in all_languages():
        for code in filter(None, (language.iso639_1, language.code)):
            if code.lower().startswith(begun.lower()) and lookup_language(code) is language:
                yield f"{before}{comma}{code}", language.name
                break


def complete_tasks(incomplete: str) -> Iterator[str]:
    """Tasks that come with the program."""
    for path in sorted((data_path("eval") / "tasks").glob("*.toml")):
        if path.stem.startswith(incomplete):
            yield path.stem
