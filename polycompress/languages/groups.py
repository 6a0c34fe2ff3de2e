"""Families as data: presets that put each language of the registry into one group, and their everyday names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from polycompress.errors import InputError
from polycompress.languages.finding import (
    find_language,
    find_languages,
    lookup_language,
    name_key,
    shortened,
)
from polycompress.languages.table import Language, all_languages, read_table

PRESETS: Final = ("glottolog-family", "glottolog-branch", "apollo")
"""Ways of grouping: Glottolog's top nodes, well-known nodes below them, and the seven groups of Apollo-MoE."""
UNASSIGNED: Final = "unassigned"
"""The group of a language that a preset does not know."""
_GENEALOGY: Final = PRESETS[:2]
"""What a name means without a preset, the wider first."""


def family_groups(preset: str) -> Mapping[str, str]:
    """The group of every language of the registry.

    ``apollo`` repeats the table of its paper, with its linguistic errors; ``languages/apollo.tsv`` says which they
    are. It knows fifty languages, in whatever script; the others are ``unassigned``.

    Args:
        preset: One of ``PRESETS``.

    Returns:
        Code to group, for each row of the registry.

    Raises:
        InputError: There is no such preset.

    Reference:
        Zheng et al., "Efficiently Democratizing Medical LLMs for 50 Languages via a Mixture of Language Family
        Experts", ICLR 2025, https://arxiv.org/abs/2410.10626 (``apollo``).

    Example:
        >>> family_groups("glottolog-branch")["swh-Latn"]
        'Narrow Bantu'
    """
    _check_preset(preset)
    return _groups(preset)


def family_of(spec: str, preset: str, *, unknown: str | None = None) -> str:
    """The group of one language.

    Args:
        spec: A code or name, as ``find_language`` takes it.
        preset: One of ``PRESETS``.
        unknown: The group of languages that are not in the registry, for example ``UNASSIGNED``. None: they
            are an error.

    Raises:
        InputError: There is no such preset, or no such language and ``unknown`` is None.
    """
    groups = family_groups(preset)
    language = lookup_language(spec) if unknown is not None else find_language(spec)
    return (unknown or UNASSIGNED) if language is None else groups[language.code]


def find_group(spec: str, preset: str | None = None) -> tuple[str, tuple[Language, ...]]:
    """The languages of a family, a branch or another group.

    Groups are known by their own names (``Narrow Bantu``) and by everyday ones (``Bantu``), regardless of case.

    Args:
        spec: The name of a group.
        preset: Whose groups; None: Glottolog's families, then its branches, own names before everyday ones
            (``Turkic`` is then the family, with Chuvash; in ``glottolog-branch`` it is Common Turkic).

    Returns:
        The group's own name, and its languages in the order of the registry.

    Raises:
        InputError: There is no such group (the nearest is named) or no such preset.
    """
    if preset is not None:
        _check_preset(preset)
    found = _lookup_group(spec, preset)
    if found is None:
        raise InputError(_unknown_group(spec, preset))
    preset, group = found
    groups = _groups(preset)
    return group, tuple(language for language in all_languages() if groups[language.code] == group)


def select_languages(spec: str) -> tuple[Language, ...]:
    """The languages that a comma-separated list of codes, names, families and branches means, each once.

    ``all`` stands for the whole registry. A name that a language and a group share means the language.

    Raises:
        InputError: Something is neither a language nor a group, or the list is empty.
    """
    names = [name.strip() for name in spec.split(",")]
    if not any(names):
        return find_languages(spec)
    chosen: list[Language] = []
    for name in filter(None, names):
        language = lookup_language(name)
        if name.casefold() == "all":
            chosen += all_languages()
        elif language is not None:
            chosen.append(language)
        elif _lookup_group(name, None) is not None:
            chosen += find_group(name)[1]
        else:
            raise InputError(_neither(name))
    return tuple(dict.fromkeys(chosen))


def _check_preset(preset: str) -> None:
    if preset not in PRESETS:
        raise InputError(f"Unknown family preset {shortened(preset)!r}. There are: {', '.join(PRESETS)}.")


@functools.cache
def _groups(preset: str) -> Mapping[str, str]:
    languages = all_languages()
    if preset == "glottolog-family":
        table = {language.code: language.family for language in languages}
    elif preset == "glottolog-branch":
        table = {language.code: language.branch for language in languages}
    else:
        known = {language: group for group, language, *_ in read_table("apollo.tsv")}
        table = {language.code: known.get(language.iso639_3, UNASSIGNED) for language in languages}
    return MappingProxyType(table)


@functools.cache
def _names(preset: str) -> dict[str, str]:
    """Groups of a preset by every name; own names before everyday ones."""
    rows = [row for row in read_table("groups.tsv") if row[0] == preset]
    names = {name_key(group): group for _, group, *_ in rows}
    for _, group, aliases, *_ in rows:
        for alias in filter(None, aliases.split(";")):
            names.setdefault(name_key(alias), group)
    if UNASSIGNED in _groups(preset).values():
        names[UNASSIGNED] = UNASSIGNED
    return names


def _lookup_group(spec: str, preset: str | None) -> tuple[str, str] | None:
    """The preset and the own name of a group."""
    key = name_key(spec)
    presets = _GENEALOGY if preset is None else (preset,)
    own = [(name, _names(name)[key]) for name in presets if key in _names(name)]
    own.sort(key=lambda found: name_key(found[1]) != key)  # stable: own names before everyday ones
    return own[0] if own else None


def _nearest_group(spec: str, preset: str | None) -> str | None:
    import difflib

    names = {
        key: group
        for name in (_GENEALOGY if preset is None else (preset,))
        for key, group in _names(name).items()
    }
    near = difflib.get_close_matches(name_key(shortened(spec)), names, n=1, cutoff=0.5)
    return names[near[0]] if near else None


def _unknown_group(spec: str, preset: str | None) -> str:
    near = _nearest_group(spec, preset)
    guess = f" Did you mean {near}?" if near else ""
    where = f"the groups of {preset}" if preset else "families and branches"
    return (
        f"Unknown language family {shortened(spec)!r}.{guess} languages/groups.tsv lists {where}, "
        f"for example {'Indo-European' if preset in (None, *PRESETS[::2]) else 'Romance'}."
    )


def _neither(spec: str) -> str:
    """The nearest language and the nearest group, whatever was meant."""
    near = _nearest_group(spec, None)
    family = f" Or the family {near}?" if near else ""
    try:
        find_language(spec)
    except InputError as error:
        return f"{error}{family} A family or branch (Romance, Bantu) or `all` will do as well."
    raise AssertionError(f"{spec!r} is a language")  # the caller asked before
