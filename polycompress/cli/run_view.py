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
            _inputs(each),
            each.state + (f" ({each.why})" if each.why else ""),
            _size(each),
            _time(each),
        )
        for each in plan.stages
    ]
    header = ("stage", "command", "from", "state", "size", "expected time")
    console.print_facts(rows, f"{plan.recipe.name}: {plan.recipe.model}", header)
    console.print_line(
        f"{plan.out}: {console.megabytes(plan.used_bytes)} there, {console.megabytes(plan.free_bytes)} free on its disk"
    )
    if plan.left:
        console.print_line(_disk(plan))
        console.print_line(_expected(plan))
    console.print_line("nothing was written (--dry-run)")


def _disk(plan: Plan) -> str:
    """What stages to do will write, and whether there is room."""
    unknown = [each.stage.name for each in plan.left if each.at_most is None]
    said = f"to be written: at most {console.megabytes(plan.at_most)}"
    if unknown:
        said += f" and the unknown sizes of {', '.join(unknown)}"
    if any(each.stage.kind.leaves == "run" for each in plan.left):
        said += "; snapshots come on top while a stage trains"
    return said + ("; THERE IS NOT SO MUCH ROOM" if plan.at_most > plan.free_bytes else "")


def _expected(plan: Plan) -> str:
    """How long it will take, as far as this run has measured it."""
    unknown = [each.stage.name for each in plan.left if each.seconds is None]
    if len(unknown) == len(plan.left):
        return "expected time: unknown, until stages have run here once"
    said = f"expected time: about {duration(plan.seconds)}"
    return f"{said} and the unknown times of {', '.join(unknown)}" if unknown else said


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


def _inputs(planned: Planned) -> str:
    """What feeds a stage; of a report on the whole run all stages before it do."""
    stage = planned.stage
    if stage.kind.takes == "results" and not stage.is_of_run:
        return "all before"
    return ", ".join(source.name for source in stage.inputs)


def _size(planned: Planned) -> str:
    if planned.bytes is not None:
        return console.megabytes(planned.bytes)
    if planned.state == "finished" or planned.at_most == 0:
        return ""
    return UNKNOWN if planned.at_most is None else f"at most {console.megabytes(planned.at_most)}"


def _time(planned: Planned) -> str:
    if planned.state == "finished":
        return ""
    return UNKNOWN if planned.seconds is None else f"about {duration(planned.seconds)}"


def _figures(result: Mapping[str, Any]) -> str:
    """The numbers that say most about a stage, where there are such."""
    told = [*_surgery(result), *_training(result), *_scores(result)]
    return ", ".join(told[:4]) + (" ..." if len(told) > 4 else "")


def _surgery(result: Mapping[str, Any]) -> list[str]:
    sizes = _part(_part(result, "plan"), "sizes")
    before, after = _part(sizes, "before").get("vocab"), _part(sizes, "after").get("vocab")
    told = []
    if isinstance(before, int) and isinstance(after, int):
        told.append(f"{console.number(before)} -> {console.number(after)} tokens")
    if "certificate" in result:
        told.append("certificate passed" if _part(result, "certificate").get("passed") else "no certificate")
    return told


def _training(result: Mapping[str, Any]) -> list[str]:
    stages = result.get("stages")
    last = stages[-1] if isinstance(stages, list) and stages and isinstance(stages[-1], Mapping) else {}
    mean = _part(result, "dev").get("mean", last.get("dev_score"))
    return [f"development {mean:.3f}"] if isinstance(mean, int | float) else []


def _scores(result: Mapping[str, Any]) -> list[str]:
    scores = result.get("scores")
    return [
        f"{row['language']} {row['score']:.3f}"
        for row in (scores if isinstance(scores, list) else [])
        if isinstance(row, Mapping) and isinstance(row.get("score"), int | float)
    ]


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = found.get(name)
    return part if isinstance(part, Mapping) else {}
