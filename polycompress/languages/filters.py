"""Languages by script and by what covers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from polycompress.errors import InputError
from polycompress.languages.finding import shortened
from polycompress.languages.table import COVERAGE, Language, all_languages

_TEXT_SOURCES: Final = {
    "flores": "FLORES-200",
    "sib200": "SIB-200",
    "wikiann": "WikiANN",
    "masakhaner": "MasakhaNER",
    "americasnli": "AmericasNLI",
    "xnli": "XNLI",
}


def in_script(languages: Sequence[Language], script: str) -> tuple[Language, ...]:
    """Those written in a script.

    Args:
        languages: Rows of the registry.
        script: ISO 15924, regardless of case; ``Hani`` has those in ``Hans``, ``Hant`` and ``Jpan`` too.

    Raises:
        InputError: No language of the registry is written in it; the nearest is named.
    """
    known = {part for language in all_languages() for part in (language.script, *language.scripts)}
    wanted = _pick(script.title(), sorted(known), f"Unknown script {shortened(script)!r}.")
    return tuple(entry for entry in languages if wanted in (entry.script, *entry.scripts))


def covered_by(languages: Sequence[Language], name: str) -> tuple[Language, ...]:
    """Those that a model, a data set or the word lists of ``wordfreq`` have.

    Args:
        languages: Rows of the registry.
        name: One of ``COVERAGE``; case and hyphens make no difference (``XLM-R``).

    Raises:
        InputError: Nothing of that name is known; the nearest is named.
    """
    key = name.casefold().replace("-", "").replace("_", "")
    wanted = _pick(key, COVERAGE, f"Unknown coverage {shortened(name)!r}.")
    return tuple(entry for entry in languages if wanted in entry.covered)


def _pick(key: str, known: Sequence[str], complaint: str) -> str:
    import difflib

    if key in known:
        return key
    near = difflib.get_close_matches(shortened(key), known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"{complaint}{guess} Known are {', '.join(known)}.")


def where_text_is(language: Language) -> str:
    """The data sets that hold text of a language, for messages: ``; there is text of it in A, B``, or nothing."""
    held = [name for key, name in _TEXT_SOURCES.items() if key in language.covered]
    return f"; there is text of it in {', '.join(held)}" if held else ""
