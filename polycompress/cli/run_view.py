"""Plans and runs of recipes for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polycompress.cli import console
from polycompress.cli.training_view import duration

if TYPE_CHECKING:
    from polycompress.pipelines.recipes.planning import Plan, Planned
    from polycompress.pipelines.recipes.running import Done

UNKNOWN = "unknown"


def show_plan(plan: Plan) -> None:
    """What is finished, and what is to do and why."""
    rows = [
        (
            f"{each.stage.number} {each.stage.name}",
            each.stage.command.name,
            ", ".join(source.name for source in each.stage.inputs),
            each.state + (f" ({each.why})" if each.why else ""),
            _size(each),
            _time(each),
        )
        for each in plan.stages
    ]
    header = ("stage", "command", "from", "state", "size", "expected time")
    console.print_facts(rows, f"{plan.recipe.name}: {plan.recipe.model}", header)
    there = sum(each.bytes or 0 for each in plan.stages)
    console.print_line(
        f"{plan.out}: {console.megabytes(there)} there, {console.megabytes(plan.free_bytes)} free on its disk"
    )
    console.print_line("nothing was written (--dry-run)")


def show_run(plan: Plan, stages: Sequence[Done]) -> None:
    """Every stage with what it left."""
    rows = [
        (
            f"{each.planned.stage.number} {each.planned.stage.name}",
            each.planned.stage.command.name,
            _figures(each.record.get("result") or {}),
            console.megabytes(each.bytes) if each.bytes else "",
            "finished before" if each.was_finished else duration(each.seconds or 0.0),
        )
        for each in stages
    ]
    console.print_facts(rows, plan.recipe.name, ("stage", "command", "result", "size", "time"))
    console.print_line(f"written to {plan.out}")


def _size(planned: Planned) -> str:
    if planned.bytes is not None:
        return console.megabytes(planned.bytes)
    if planned.state == "finished":
        return ""
    return UNKNOWN if planned.at_most is None else f"at most {console.megabytes(planned.at_most)}"


def _time(planned: Planned) -> str:
    if planned.state == "finished":
        return ""
    return UNKNOWN if planned.seconds is None else f"about {duration(planned.seconds)}"


def _figures(result: Mapping[str, Any]) -> str:
    """The number that says most about a stage, where there is one."""
    dev = result.get("dev")
    if isinstance(dev, Mapping) and isinstance(dev.get("mean"), int | float):
        return f"development {dev['mean']:.3f}"
    scores = result.get("scores")
    if isinstance(scores, list) and scores:
        found = [
            f"{row['language']} {row['score']:.3f}"
            for row in scores
            if isinstance(row, Mapping) and isinstance(row.get("score"), int | float)
        ]
        return ", ".join(found[:4]) + (" ..." if len(found) > 4 else "")
    return ""
