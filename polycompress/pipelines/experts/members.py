"""The models that are merged: of which family each is, and for which languages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from polycompress.errors import InputError
from polycompress.languages import find_language, select_languages
from polycompress.languages.finding import name_key
from polycompress.modeldir.figures import language_entries
from polycompress.modeldir.manifest import read_manifest
from polycompress.moe.families import FamilyTable, assign_families
from polycompress.pipelines.trimming.loading import OpenModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A model whose networks become an expert."""

    opened: OpenModel
    family: str
    languages: tuple[str, ...]
    """Codes."""


def find_members(
    models: Sequence[OpenModel], family: Sequence[str], families: str | FamilyTable
) -> tuple[Member, ...]:
    """Say of which family each model is.

    Args:
        models: In the order of their experts.
        family: For each of them ``NAME`` or ``NAME=LANGS``; none: names and languages are those of the models'
            manifests.
        families: A preset or a table: what a model's family is called where nobody says.

    Raises:
        InputError: There are not as many names as models, or a model's languages or family are not known; all such
            are named.
    """
    if family and len(family) != len(models):
        raise InputError(
            f"--family was given {len(family)} times for {len(models)} models: once for each, in their order."
        )
    faults: list[str] = []
    members = []
    for model, given in zip(models, family or [""] * len(models), strict=True):
        try:
            members.append(_member(model, given, families))
        except InputError as error:
            faults.append(
                f"{model.source.path}: {error}" if str(model.source.path) not in str(error) else str(error)
            )
    if faults:
        raise InputError("\n".join(dict.fromkeys(faults)))
    return tuple(members)


def find_shared(
    members: Sequence[Member], specs: Sequence[str | os.PathLike[str]], shared: str
) -> int | None:
    """Which model everything but experts is taken from.

    Args:
        members: The models.
        specs: As they were given.
        shared: ``mean``, or one of them as it was given, or its family.

    Returns:
        Its number from 0; None: the mean of all.

    Raises:
        InputError: It is none of these, or a family of several.
    """
    if shared == "mean":
        return None
    named = [place for place, spec in enumerate(specs) if os.fspath(spec) == shared]
    if not named:
        named = [place for place, each in enumerate(members) if name_key(each.family) == name_key(shared)]
    if len(named) == 1:
        return named[0]
    known = ", ".join(os.fspath(spec) for spec in specs)
    families = ", ".join(dict.fromkeys(each.family for each in members))
    fault = "several models are of that family" if named else "no such model or family"
    raise InputError(
        f"--shared {shared!r}: {fault}. Give mean, a model ({known}) or a family of one model ({families})."
    )


def _member(model: OpenModel, given: str, families: str | FamilyTable) -> Member:
    name, _, langs = given.partition("=")
    name = " ".join(name.split())
    if given and not name:
        raise InputError(f"--family {given!r}: has no name. Write it like Romance=fr,es,it.")
    if not name.isprintable():
        raise InputError(f"--family {given!r}: has characters that cannot be shown.")
    if langs:
        languages = tuple(language.code for language in select_languages(langs))
    else:
        languages = _manifest_languages(model)
    if not languages:
        raise InputError(
            "its manifest names no languages. Say which it is for, once for each model: --family NAME=CODES."
        )
    return Member(opened=model, family=name or _family(languages, families), languages=languages)


def _manifest_languages(model: OpenModel) -> tuple[str, ...]:
    """Codes of the languages that a model's manifest names."""
    manifest = read_manifest(model.source.path) or {}
    codes = [each.get("code") for each in language_entries(manifest)]
    return tuple(dict.fromkeys(find_language(code).code for code in codes if isinstance(code, str)))


def _family(languages: Sequence[str], families: str | FamilyTable) -> str:
    found = dict.fromkeys(assign_families([find_language(code) for code in languages], families).values())
    if len(found) == 1:
        return next(iter(found))
    raise InputError(
        f"its manifest names languages of several families: {', '.join(languages)} ({', '.join(found)}). Say which of "
        "them its expert is for, once for each model: --family NAME=CODES."
    )
