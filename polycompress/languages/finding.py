"""From what people write to a row of the registry: codes, tags and names."""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

from polycompress.errors import InputError
from polycompress.languages.table import Language, all_languages

_MAX_SPEC: Final = 60


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
    found = lookup_language(spec)
    if found is None:
        raise InputError(_unknown(spec))
    return found


def lookup_language(spec: str) -> Language | None:
    """As ``find_language``, but None where nothing is meant."""
    key = name_key(spec)
    return _by_key().get(key) or _by_key().get(_normal_tag(key))


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


def name_key(spec: str) -> str:
    """How spellings are compared: case, runs of spaces and ``_`` for ``-`` make no difference."""
    return " ".join(unicodedata.normalize("NFC", spec).casefold().replace("_", "-").split())


def shortened(spec: str) -> str:
    """What somebody wrote, cut to what a message has room for."""
    return spec if len(spec) <= _MAX_SPEC else f"{spec[:_MAX_SPEC]}..."


@functools.cache
def _by_key() -> dict[str, Language]:
    """Rows by every spelling. Codes come before names, those before own names, which languages may share."""
    keys: dict[str, Language] = {}
    languages = all_languages()
    for language in languages:
        keys[name_key(language.code)] = language
    for language in languages:
        codes = [language.iso639_3] + ([language.iso639_1] if language.iso639_1 else [])
        for code in codes:
            keys.setdefault(code, language)
            keys.setdefault(name_key(f"{code}-{language.script}"), language)
        for alias in language.aliases:
            keys.setdefault(name_key(alias), language)
            keys.setdefault(name_key(f"{alias}-{language.script}"), language)
    for language in languages:
        keys.setdefault(name_key(language.name), language)
    for language in languages:
        keys.setdefault(name_key(language.own_name), language)
    return keys


def _normal_tag(key: str) -> str:
    """A tag with a region or variant (``pt-br``, ``zh-mo``) as language and script; else as it is."""
    import langcodes

    # The library goes through a tag part by part, each a call inside the one before.
    if "-" not in key or len(key) > _MAX_SPEC or not langcodes.tag_is_valid(key):
        return key
    tag = langcodes.Language.get(key)
    usual = langcodes.Language.make(language=tag.language).maximize().script
    script = tag.maximize().script
    return name_key(tag.language or "") if script == usual else name_key(f"{tag.language}-{script}")


def _unknown(spec: str) -> str:
    """Say what was meant, perhaps: the language asked for in another script, else the nearest spelling."""
    import difflib

    shown = shortened(spec)
    advice = "Give a code or name of languages/registry.tsv, for example de, deu-Latn or German."
    identified = _identify(spec[:_MAX_SPEC])
    rows = [row for row in all_languages() if identified and row.iso639_3 == identified[0]]
    near = difflib.get_close_matches(name_key(spec[:_MAX_SPEC]), _by_key(), n=1, cutoff=0.1)
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
