"""Which language belongs to which family, and which experts serve it: the plan of a model with family experts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polycompress.errors import InputError
from polycompress.languages import family_groups, find_language
from polycompress.moe.sharing import MAX_EXPERTS, Branch, Expert, join_branches, share_experts


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertPlan:
    """Languages, their families and the experts of each."""

    languages: Mapping[str, str]
    """Code to family."""
    families: Mapping[str, tuple[int, ...]]
    """Each family's experts, from 0: several of a large one; small ones may share one."""
    tokens: Mapping[str, float]
    """Each language's share of the tokens; they sum to 1."""
    loads: tuple[float, ...]
    """Of each expert: the share of the tokens that come to it, if a family's experts have the same."""

    @property
    def experts(self) -> int:
        """How many."""
        return len(self.loads)

    def families_of(self, expert: int) -> tuple[str, ...]:
        """The families that an expert serves."""
        return tuple(name for name, own in self.families.items() if expert in own)

    def languages_of(self, family: str) -> tuple[str, ...]:
        """The codes of a family's languages."""
        return tuple(code for code, own in self.languages.items() if own == family)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the manifest: a record for each expert."""
        return {
            "experts": [
                {
                    "expert": expert,
                    "families": list(self.families_of(expert)),
                    "languages": [
                        code for family in self.families_of(expert) for code in self.languages_of(family)
                    ],
                    "share": load,
                }
                for expert, load in enumerate(self.loads)
            ],
            "tokens": dict(self.tokens),
        }


def plan_experts(
    languages: Mapping[str, str],
    *,
    experts: int | None = None,
    tokens: Mapping[str, float] | None = None,
) -> ExpertPlan:
    """Say which experts each family has.

    Args:
        languages: Code to family; see ``assign_families``. Experts are numbered in the order in which their families
            come first here.
        experts: How many in all: a large family gets several and small ones share one, those of one Glottolog family
            first of all, so that loads come as even as possible (see ``share_experts``). None: one for each family.
        tokens: How many there are of each language, in any unit; None: as many of each.

    Raises:
        InputError: There is no language, tokens of one are missing or there are none at all, or the number of experts
            is below 1 or above ``MAX_EXPERTS``.

    Example:
        >>> plan = plan_experts({"deu-Latn": "Germanic", "fra-Latn": "Romance", "ita-Latn": "Romance"}, experts=3)
        >>> dict(plan.families)
        {'Germanic': (0,), 'Romance': (1, 2)}
    """
    if not languages:
        raise InputError("No language was given, so there are no families to have experts for.")
    shares = token_shares(languages, tokens)
    loads = _family_loads(languages, shares)
    made: Iterable[Expert]
    if experts is None:
        if len(loads) > MAX_EXPERTS:
            raise InputError(
                f"{len(loads)} families would have one expert each, more than {MAX_EXPERTS}: let small ones share with "
                "--experts N."
            )
        made = (Expert((name,), load) for name, load in loads.items())
    else:
        made = share_experts(_tree(languages, loads), experts)
    order = {name: place for place, name in enumerate(loads)}
    ordered = sorted(made, key=lambda each: min(order[name] for name in each.families))
    return ExpertPlan(
        languages=dict(languages),
        families={
            name: tuple(place for place, each in enumerate(ordered) if name in each.families)
            for name in loads
        },
        tokens=shares,
        loads=tuple(each.load for each in ordered),
    )


def plan_members(members: Sequence[tuple[str, Sequence[str]]]) -> ExpertPlan:
    """The plan of a model that has one expert of each of several models.

    Args:
        members: For each expert, its family and the codes of its languages; a family may come several times.

    Raises:
        InputError: A language is in two families, or an expert has none; all faults are named.
    """
    languages: dict[str, str] = {}
    faults = [f"{family} has no languages" for family, codes in members if not codes]
    for family, codes in members:
        for code in codes:
            if languages.setdefault(code, family) != family:
                name = f"{find_language(code).name} ({code})"
                faults.append(f"{name} is in two families, {languages[code]} and {family}")
    if faults:
        raise InputError(
            f"{'; '.join(dict.fromkeys(faults))}. Say which languages each model is for, in the order of the models: "
            "--family NAME=CODES."
        )
    families: dict[str, tuple[int, ...]] = {}
    for expert, (family, _) in enumerate(members):
        families[family] = (*families.get(family, ()), expert)
    shares = token_shares(languages, None)
    loads = _family_loads(languages, shares)
    return ExpertPlan(
        languages=languages,
        families=families,
        tokens=shares,
        loads=tuple(loads[family] / len(families[family]) for family, _ in members),
    )


def token_shares(languages: Iterable[str], tokens: Mapping[str, float] | None) -> dict[str, float]:
    """Each language's share of the tokens.

    Args:
        languages: Codes.
        tokens: How many there are of each; None: as many of each.

    Raises:
        InputError: Tokens of a language are missing (all such are named), or there are none at all.
    """
    codes = list(languages)
    given = dict.fromkeys(codes, 1.0) if tokens is None else tokens
    missing = [f"{find_language(code).name} ({code})" for code in codes if code not in given]
    if missing:
        raise InputError(
            f"It is not known how many tokens there are of {', '.join(missing)}: give a corpus or counts of every "
            "language, or of none, which counts all alike."
        )
    total = math.fsum(given[code] for code in codes)
    if not total > 0 or not math.isfinite(total):
        raise InputError("Not one token was counted in any of the languages: give other text, or none.")
    return {code: given[code] / total for code in codes}


def _family_loads(languages: Mapping[str, str], shares: Mapping[str, float]) -> dict[str, float]:
    """Share of the tokens of each family, in the order in which they come first."""
    return {
        name: math.fsum(shares[code] for code, own in languages.items() if own == name)
        for name in dict.fromkeys(languages.values())
    }


def _tree(languages: Mapping[str, str], loads: Mapping[str, float]) -> Branch:
    """Families under the Glottolog family that all their languages are of; those of several stand by themselves."""
    top = family_groups("glottolog-family")
    members: dict[str, list[Branch]] = {}
    for name, load in loads.items():
        above = {top[code] for code, own in languages.items() if own == name}
        members.setdefault(f"tree {above.pop()}" if len(above) == 1 else f"family {name}", []).append(
            Branch(name, load)
        )
    return join_branches(
        [each[0] if len(each) == 1 else join_branches(each, name) for name, each in members.items()]
    )
