"""Which family each language belongs to: by a preset, or by a user's own table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.errors import InputError
from polycompress.languages import PRESETS, UNASSIGNED, Language, family_groups, find_group
from polycompress.languages.finding import find_language, name_key, shortened

HEADER: Final = ("language", "family")
"""What the first line of a table may say."""
MAX_ROWS: Final = 10_000
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class FamilyTable:
    """A user's own table."""

    families: Mapping[str, str]
    """By language code, in the order of the file."""
    where: str
    """The file's name, for messages."""


def parse_family_table(lines: Iterable[str], where: str) -> FamilyTable:
    """Read a table of one language and its family a line, with a tab between.

    Empty lines are left out, and a first line ``language<TAB>family``. Languages are written as everywhere.

    Args:
        lines: Of the file.
        where: Its name, for messages.

    Raises:
        InputError: A line has another number of columns, no family or an unknown language, or puts a language into a
            second family; every such line is named. Or there is no line at all.
    """
    found: dict[str, tuple[str, int]] = {}
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if number > MAX_ROWS:
            raise InputError(f"{where}: has more than {MAX_ROWS} lines, too many for a table of families.")
        cells = [" ".join(cell.split()) for cell in line.split("\t")]
        if not any(cells) or (number == 1 and tuple(map(str.casefold, cells)) == HEADER):
            continue
        try:
            code, family = _row(cells)
            if code in found and found[code][0] != family:
                old, before = found[code]
                raise InputError(f"puts {code} into {family!r}, but line {before} into {old!r}: keep one.")
        except InputError as error:
            faults.append(f"line {number}: {error}")
            continue
        found.setdefault(code, (family, number))
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise InputError("\n  ".join([f"{where}: this table of families is wrong:", *faults[:_SHOWN], *more]))
    if not found:
        raise InputError(f"{where}: holds no language. Write one and its family a line, with a tab between.")
    return FamilyTable({code: family for code, (family, _) in found.items()}, where)


def assign_families(
    languages: Sequence[Language], families: str | FamilyTable, unknown: str | None = None
) -> dict[str, str]:
    """The family of each language.

    Args:
        languages: Those that a model is to serve, each once.
        families: A preset of ``polycompress.languages`` or a table of one's own.
        unknown: The family of languages that it puts into none: one of its own, by its name or an everyday one, or
            ``unassigned``. None: such languages are an error.

    Returns:
        Code to family, in the order of ``languages``.

    Raises:
        InputError: There is no such preset or family, or languages are in no family (all are named).
    """
    known = families.families if isinstance(families, FamilyTable) else family_groups(families)
    rest = None if unknown is None else find_family(unknown, families)
    assigned = {each.code: known.get(each.code, UNASSIGNED) for each in languages}
    lost = [each for each in languages if assigned[each.code] == UNASSIGNED]
    if lost and rest is None:
        where = families.where if isinstance(families, FamilyTable) else f"the preset {families}"
        raise InputError(
            f"In no family of {where}: {', '.join(f'{each.name} ({each.code})' for each in lost)}. Leave them out, "
            "give them a family in a table of your own (--families FILE), or let --unknown FAMILY say where they go."
        )
    return {code: rest if rest and family == UNASSIGNED else family for code, family in assigned.items()}


def find_family(spec: str, families: str | FamilyTable) -> str:
    """A family's own name.

    Args:
        spec: That name or an everyday one, regardless of case, or ``unassigned``.
        families: A preset or a table.

    Raises:
        InputError: There is no such family; the nearest is named.
    """
    if name_key(spec) == UNASSIGNED:
        return UNASSIGNED
    if not isinstance(families, FamilyTable):
        return find_group(spec, families)[0]
    return nearest_family(spec, families.families.values(), f"the families of {families.where}")


def nearest_family(spec: str, names: Iterable[str], what: str) -> str:
    """The one of some families that a name means, regardless of case; an everyday name means its preset's group.

    Args:
        spec: A name.
        names: Of the families there are.
        what: They are, for the message.

    Raises:
        InputError: None is meant; the nearest is named, and all.
    """
    import difflib

    by_key = {name_key(name): name for name in sorted(set(names))}
    if name_key(spec) in by_key:
        return by_key[name_key(spec)]
    for preset in PRESETS:
        try:
            own = name_key(find_group(spec, preset)[0])
        except InputError:
            continue
        if own in by_key:
            return by_key[own]
    near = difflib.get_close_matches(name_key(shortened(spec)), by_key, n=1, cutoff=0.5)
    guess = f" Did you mean {by_key[near[0]]}?" if near else ""
    raise InputError(
        f"Unknown family {shortened(spec)!r}.{guess} {what[0].upper()}{what[1:]}: {', '.join(by_key.values())}."
    )


def _row(cells: Sequence[str]) -> tuple[str, str]:
    """Code and family of a line."""
    if len(cells) != len(HEADER):
        given = "no tab" if len(cells) == 1 else f"{len(cells)} columns"
        raise InputError(f"has {given}: write a language and its family with a tab between.")
    language, family = cells
    if not language:
        raise InputError(f"has a family ({shortened(family)!r}) but no language.")
    code = find_language(language).code
    if not family:
        raise InputError(f"gives {code} no family.")
    if not family.isprintable():
        raise InputError(f"the family of {code} has characters that cannot be shown.")
    return code, family
