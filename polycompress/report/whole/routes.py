"""Experts of a run's models: which family has which, and where a router sends each language's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.figures import UNKNOWN, items_of, join, part_of
from polycompress.moe.routing_report import read_shares
from polycompress.report.figures import Table, table
from polycompress.report.heatmap import Cell, colour
from polycompress.report.whole.languages import language_name
from polycompress.report.whole.reading import RunFound, StageFound


@dataclass(frozen=True, slots=True)
class RoutedLayer:
    """The shares of one layer's choices that fall on each expert, a row a language."""

    number: int
    experts: int
    rows: tuple[tuple[str, tuple[tuple[Cell, bool], ...]], ...]
    """Of each language its name and its cells; true: an expert of its own family."""


@dataclass(frozen=True, slots=True)
class Experts:
    """What one stage says of experts."""

    stage: str
    facts: str
    families: Table
    layers: tuple[RoutedLayer, ...]


def experts_of(run: RunFound) -> tuple[tuple[Experts, ...], tuple[str, ...]]:
    """What stages say of experts, and what of it could not be read."""
    found, notes = [], []
    for stage in run.finished:
        moe = part_of(stage.result, "moe") or part_of(part_of(stage.result, "experts"), "moe")
        routed = stage.result if "layers" in stage.result and "top_k" in stage.result else {}
        if not moe and not routed:
            continue
        layers: tuple[RoutedLayer, ...] = ()
        if routed:
            try:
                layers = _layers(routed, stage)
            except InputError as error:
                notes.append(f"left out: {error}")
        found.append(Experts(stage.name, _facts(moe or routed, stage), _families(moe or routed), layers))
    return tuple(found), tuple(notes)


def _facts(moe: Mapping[str, Any], stage: StageFound) -> str:
    numbers = [str(each) for each in items_of(moe, "layers")]
    said = [
        f"{moe.get('experts', UNKNOWN)} experts",
        *([f"in {'layer' if len(numbers) == 1 else 'layers'} {join(numbers)}"] if numbers else []),
        f"{moe.get('top_k', UNKNOWN)} for each token",
    ]
    idle = part_of(stage.result, "distillation").get("idle_experts")
    if idle is not None:
        said.append(f"{idle} that no token reached")
    return ", ".join(said)


def _families(moe: Mapping[str, Any]) -> Table:
    languages = part_of(moe, "languages")
    rows = [
        (
            str(name),
            ", ".join(language_name(str(code)) for code, family in languages.items() if family == name)
            or "-",
            ", ".join(map(str, items_of(part_of(moe, "families"), name))) or "-",
        )
        for name in part_of(moe, "families")
    ]
    return table(("family", "languages", "experts"), rows, words=3)


def _layers(found: Mapping[str, Any], stage: StageFound) -> tuple[RoutedLayer, ...]:
    experts = found.get("experts")
    top_k = found["top_k"] if isinstance(found["top_k"], int) and 0 < found["top_k"] < 1000 else 1
    shares = read_shares(
        found, experts if isinstance(experts, int) else 0, f"the routing of stage {stage.name}"
    )
    languages, families = part_of(found, "languages"), part_of(found, "families")
    return tuple(
        RoutedLayer(
            number,
            len(next(iter(rows.values()), [])),
            tuple(
                (language_name(code), _cells(own, top_k, items_of(families, str(languages.get(code)))))
                for code, own in rows.items()
            ),
        )
        for number, rows in shares.items()
    )


def _cells(shares: list[float], top_k: int, home: Any) -> tuple[tuple[Cell, bool], ...]:
    cells = []
    for expert, share in enumerate(shares):
        paper, ink = colour(share * top_k)
        cells.append((Cell(f"{share:.0%}", f"expert {expert}: {share:.1%}", paper, ink), expert in home))
    return tuple(cells)
