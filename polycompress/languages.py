"""The typed view of ``languages/``: codes, names, scripts and the characters that a script needs."""

from __future__ import annotations

import bisect
import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.errors import InputError
from polycompress.resources import data_path

COMPOSITE_SCRIPTS: Final = {
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
}
"""ISO 15924 codes that stand for several of Unicode's scripts."""
_COMMON: Final = "Zyyy"
_MAX_SPEC: Final = 60


@dataclass(frozen=True, slots=True)
class Language:
    """One language in one script: a row of ``languages/registry.tsv``."""

    code: str
    """ISO 639-3 and ISO 15924: ``deu-Latn``."""
    iso639_3: str
    iso639_1: str | None
    """Its own two-letter code, or that of the wider language it stands for (``sw`` for ``swh-Latn``)."""
    name: str
    """In English."""
    own_name: str
    """In the language itself where known, else as ``name``."""
    script: str
    """ISO 15924; may be composite (``Jpan``)."""
    scripts: tuple[str, ...]
    """The same as Unicode's scripts (``Hani``, ``Hira``, ``Kana``)."""
    wordfreq: str | None
    """Exact code of the word list of ``wordfreq``, if there is one."""
    spaced: bool
    """Whether spaces separate words."""
    restore: str
    """Spelling lost in that word list: ``lost>written``, joined by ``;``; ``$`` after ``lost``: only at word ends."""
    casing: str
    """``tr``: capital of i is İ and of ı is I; empty: as everywhere."""
    aliases: tuple[str, ...]
    """Other codes and names."""


@functools.cache
def all_languages() -> tuple[Language, ...]:
    """Every row of the registry; of several scripts the one that the bare code means is first."""
    lines = (data_path("languages") / "registry.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(_language(*line.split("\t")) for line in lines[1:])


def find_language(spec: str) -> Language:
    """The language that a code or name means.

    Accepted are ISO 639-3 (``deu``) and ISO 639-1 (``de``) codes, with a script (``deu-Latn``, ``zh_Hant``)
    or a region (``pt-BR``), older and wider codes (``iw``, ``swa``), and names in English and in the language
    itself, all regardless of case. Without a script the language's most common one is meant.

    Raises:
        InputError: Nothing of the kind; the nearest match is named.

    Example:
        >>> find_language("German").code
        'deu-Latn'
    """
    key = _key(spec)
    found = _by_key().get(key) or _by_key().get(_normal_tag(key))
    if found is None:
        raise InputError(_unknown(spec))
    return found


def find_languages(specs: str) -> tuple[Language, ...]:
    """The languages of a comma-separated list, each once, in the order given.

    Raises:
        InputError: One is unknown, or the list is empty.
    """
    names = [name.strip() for name in specs.split(",")]
    if not any(names):
        raise InputError(
            f"No language in {specs!r}. Give codes or names with commas between, for example de,en."
        )
    return tuple(dict.fromkeys(find_language(name) for name in names if name))


def is_script_character(character: str, language: Language) -> bool:
    """Whether a language needs this character, judged by its script alone.

    Its scripts' letters, marks, digits and punctuation are needed, and for every language ASCII, common
    typographic punctuation and currency signs.

    Args:
        character: One character.
        language: Whose scripts count.
    """
    bounds = _bounds(language.scripts)
    return len(character) == 1 and bisect.bisect_right(bounds, ord(character)) % 2 == 1


def script_mask(characters: Sequence[str], language: Language) -> list[bool]:
    """``is_script_character`` of each; strings of any other length than one are never needed."""
    bounds, find = _bounds(language.scripts), bisect.bisect_right
    return [len(character) == 1 and find(bounds, ord(character)) % 2 == 1 for character in characters]


def _language(
    code: str,
    iso639_3: str,
    iso639_1: str,
    name: str,
    own_name: str,
    script: str,
    wordfreq: str,
    spaced: str,
    restore: str,
    casing: str,
    aliases: str,
) -> Language:
    return Language(
        code=code,
        iso639_3=iso639_3,
        iso639_1=iso639_1 or None,
        name=name,
        own_name=own_name,
        script=script,
        scripts=COMPOSITE_SCRIPTS.get(script, (script,)),
        wordfreq=wordfreq or None,
        spaced=spaced == "yes",
        restore=restore,
        casing=casing,
        aliases=tuple(aliases.split(";")) if aliases else (),
    )


def _key(spec: str) -> str:
    return " ".join(unicodedata.normalize("NFC", spec).casefold().replace("_", "-").split())


@functools.cache
def _by_key() -> dict[str, Language]:
    """Rows by every spelling. Codes come before names, those before own names, which languages may share."""
    keys: dict[str, Language] = {}
    languages = all_languages()
    for language in languages:
        keys[_key(language.code)] = language
    for language in languages:
        codes = [language.iso639_3] + ([language.iso639_1] if language.iso639_1 else [])
        for code in codes:
            keys.setdefault(code, language)
            keys.setdefault(_key(f"{code}-{language.script}"), language)
        for alias in language.aliases:
            keys.setdefault(_key(alias), language)
            keys.setdefault(_key(f"{alias}-{language.script}"), language)
    for language in languages:
        keys.setdefault(_key(language.name), language)
    for language in languages:
        keys.setdefault(_key(language.own_name), language)
    return keys


def _normal_tag(key: str) -> str:
    """A tag with a region or variant (``pt-br``, ``zh-mo``) as language and script; else as it is."""
    import langcodes

    if "-" not in key or not langcodes.tag_is_valid(key):
        return key
    tag = langcodes.Language.get(key)
    usual = langcodes.Language.make(language=tag.language).maximize().script
    script = tag.maximize().script
    return _key(tag.language or "") if script == usual else _key(f"{tag.language}-{script}")


def _unknown(spec: str) -> str:
    """Say what was meant, perhaps: the language asked for in another script, else the nearest spelling."""
    import difflib

    shown = spec if len(spec) <= _MAX_SPEC else f"{spec[:_MAX_SPEC]}..."
    advice = "Give a code or name of languages/registry.tsv, for example de, deu-Latn or German."
    identified = _identify(spec[:_MAX_SPEC])
    rows = [row for row in all_languages() if identified and row.iso639_3 == identified[0]]
    near = difflib.get_close_matches(_key(spec[:_MAX_SPEC]), _by_key(), n=1, cutoff=0.1)
    if not rows and near:
        rows = [_by_key()[near[0]]]
    known = f" ({identified[1]} is not in the registry)" if identified and identified[0] == "" else ""
    guess = " or ".join(f"{row.name} ({row.code})" for row in rows)
    return f"Unknown language {shown!r}{known}." + (f" Did you mean {guess}?" if guess else "") + f" {advice}"


def _identify(spec: str) -> tuple[str, str] | None:
    """What a tag or a name in any language means: our ISO 639-3 code (empty: not here) and its name."""
    import langcodes

    if not spec.isprintable():  # the library's table of names fails on control characters
        return None
    try:
        tag = langcodes.Language.get(spec) if langcodes.tag_is_valid(spec) else langcodes.find(spec)
    except (LookupError, ValueError):
        return None
    row = _by_key().get(tag.language or "")
    return (row.iso639_3 if row else "", tag.language_name())


@functools.cache
def _bounds(scripts: tuple[str, ...]) -> list[int]:
    """Sorted code points where membership switches on, off, on, ... for scripts and the common characters."""
    table = _script_table()
    spans = sorted(span for script in (_COMMON, *scripts) for span in table[script])
    merged: list[int] = []
    for first, end in spans:
        if merged and first <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += [first, end]
    return merged


@functools.cache
def _script_table() -> dict[str, list[tuple[int, int]]]:
    """Half-open ranges of code points by script."""
    lines = (data_path("languages") / "scripts.tsv").read_text(encoding="utf-8").splitlines()
    table = {}
    for line in lines[1:]:
        script, ranges = line.split("\t")
        spans = (span.partition("-") for span in ranges.split())
        table[script] = [(int(first, 16), int(last or first, 16) + 1) for first, _, last in spans]
    return table
