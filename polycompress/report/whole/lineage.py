"""What was made from what, in a run: a picture, and all stages in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polycompress.evaluation.results import number
from polycompress.modeldir.figures import part_of, size
from polycompress.report.arcs import Node, arcs
from polycompress.report.figures import Figure, Table, table
from polycompress.report.whole.models import SOURCE, MadeModel
from polycompress.report.whole.reading import RunFound, StageFound


def lineage_figure(run: RunFound, models: Sequence[MadeModel]) -> Figure:
    """The recipe's model, other models that stages take, and all stages but those that report."""
    shown = [each for each in run.stages if each.do != "report"]
    names = {each.name for each in shown}
    outside = dict.fromkeys(
        [SOURCE, *(source for each in shown for source in each.takes if source not in names)]
    )
    places = {name: place for place, name in enumerate([*outside, *(each.name for each in shown)])}
    sizes = {each.name: size(each.bytes) for each in models if each.bytes}
    nodes = [
        Node(
            name, ", ".join(filter(None, [run.model if name == SOURCE else "", sizes.get(name)])), "made", ()
        )
        for name in outside
    ]
    for each in shown:
        # A stage of an earlier state may name one that now comes after it.
        sources = tuple(places[source] for source in each.takes if places[source] < places[each.name])
        words = ", ".join(filter(None, [each.do, sizes.get(each.name)]))
        nodes.append(Node(each.name, words, _style(each), sources))
    keys = (("a model", "ring point"), ("looks or measures", "ring"), ("not finished", "ring open"))
    return Figure(
        "What was made from what",
        arcs("What was made from what", nodes),
        stage_table(run, models),
        tuple(pair for pair, style in zip(keys, ("made", "seen", "left"), strict=True) if _has(nodes, style)),
    )


def stage_table(run: RunFound, models: Sequence[MadeModel]) -> Table:
    """All stages; with the time that each took where that is shown."""
    sizes = {each.name: each.bytes for each in models}
    times = part_of(run.times or {}, "stages")
    rows = [
        (
            str(each.number),
            each.name,
            each.do,
            ", ".join(each.takes) or "-",
            "finished" if each.is_finished else "not finished",
            size(sizes[each.name]) if sizes.get(each.name) else "",
            *([_time(times, each.name)] if run.times is not None else []),
        )
        for each in run.stages
    ]
    head = (
        "no.",
        "stage",
        "command",
        "made from",
        "state",
        "weights",
        *(["time"] if run.times is not None else []),
    )
    return table(head, rows, words=5)


def _style(stage: StageFound) -> str:
    if not stage.is_finished:
        return "left"
    return "made" if stage.makes_model else "seen"


def _has(nodes: Sequence[Node], style: str) -> bool:
    return any(each.style == style for each in nodes)


def _time(times: Mapping[str, Any], name: str) -> str:
    seconds = number(part_of(times, name).get("seconds"), 0, 1e9)
    if seconds is None:
        return ""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
