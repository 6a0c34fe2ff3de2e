"""Names with a language in them: which files there are, and whose."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.evaluation.records import Part
from polycompress.languages.finding import lookup_language

logger = logging.getLogger(__name__)

PLACEHOLDERS: Final = ("{language}", "{subset}")
_PATTERNS: Final = {
    "{language}": r"(?P<language>[A-Za-z]{2,3}(?:[_-][A-Z][a-z]{3}|-[A-Z]{2})?)",
    "{subset}": r"(?P<subset>[A-Za-z0-9]+)",
}
_PACKED: Final = r"(?:\.(?:gz|zst|bz2|xz))?"


@dataclass(frozen=True, order=True, slots=True)
class Named:
    """What a name says."""

    part: Part
    code: str
    """The language as the name spells it."""


def read_name(template: str, name: str, codes: Mapping[str, str], *, packed: bool = False) -> Named | None:
    """What a name says by its template; None where it does not fit, or its language is unknown.

    Args:
        template: With ``{language}`` and perhaps ``{subset}``.
        name: A path below the data directory, or the name of a configuration.
        codes: Languages that are not what their code there means: ``{"sr_set": "srp-Latn"}``.
        packed: Whether an ending such as ``.gz`` may follow.

    Example:
        >>> read_name("{language}_{subset}", "en_ewt", {}).part
        Part(language='eng-Latn', subset='ewt')
    """
    match = _compiled(template, packed).fullmatch(name)
    if match is None:
        return None
    code, subset = match["language"], match.groupdict().get("subset")
    language = lookup_language(codes.get(code if subset is None else f"{code}_{subset}", code))
    if language is None:
        logger.warning("%s: %r is no language of the registry; passed over", name, code)
        return None
    return Named(Part(language.code, subset), code)


def find_named(template: str, data: Path, codes: Mapping[str, str]) -> dict[Part, list[tuple[Path, str]]]:
    """The files below a directory that a template names, by part, each with the code in its name.

    Args:
        template: Path below the directory.
        data: The directory.
        codes: As in ``read_name``.
    """
    pattern = functools.reduce(lambda text, name: text.replace(name, "*"), PLACEHOLDERS, template)
    found: dict[Part, list[tuple[Path, str]]] = {}
    for path in sorted(data.glob(f"{pattern}*")):
        named = (
            read_name(template, path.relative_to(data).as_posix(), codes, packed=True)
            if path.is_file()
            else None
        )
        if named is not None:
            found.setdefault(named.part, []).append((path, named.code))
    return found


@functools.lru_cache(maxsize=256)
def _compiled(template: str, packed: bool) -> re.Pattern[str]:
    pattern = re.escape(template)
    for name in PLACEHOLDERS:
        pattern = pattern.replace(re.escape(name), _PATTERNS[name])
    return re.compile(pattern + (_PACKED if packed else ""), re.ASCII)
