"""What a stage learns, and of whom."""

from __future__ import annotations

from typing import Final

from polycompress.errors import InputError
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, check_losses, is_untaught
from polycompress.pipelines.distilling.recipe_settings import Kind
from polycompress.pipelines.distilling.recipe_table import Located

NONE: Final = "none"
TEACHER: Final = "teacher"
"""What stages call the recipe's teacher."""
GOLD: Final = "gold"
VECTORS: Final = "sentence-vectors"
"""The objective of parallel sentences."""


def read_learning(table: Located, kind: Kind, data: str) -> tuple[tuple[LossSpec, ...], tuple[str, ...]]:
    """Objectives and teachers of a stage; what is wrong becomes faults of the table."""
    if kind != "distil":
        for name in ("losses", "teacher"):
            if table.value(name) not in (None, NONE):
                table.fault(f"{name} is given, but a stage of the kind {kind} has none: leave it out")
        return (), ()
    named = _teachers(table)
    losses = _losses(table, data)
    of_labels = data == "task" and bool(losses) and all(map(is_untaught, losses))
    if named == (NONE,):
        if data != "task":
            table.fault(
                "teacher is 'none', but text alone teaches nothing here: name a teacher, or take kind: mlm"
            )
        elif not of_labels and table.has("losses"):
            table.fault(
                "losses: without a teacher there is gold alone, and multi-exit where it learns labels; name a teacher, "
                "or leave others out"
            )
        elif not table.has("losses"):
            losses = (LossSpec(name=GOLD),)
        return losses, ()
    if not losses and not table.has("losses"):
        table.fault("losses is missing: give a list of objectives, such as hidden-mse")
    if of_labels:
        if named:
            asking = " and ".join(each.name for each in losses)
            table.fault(f"teacher is named, but {asking} asks none: write teacher: none, or add an objective")
        return losses, ()
    alone = [each.name for each in losses if not OBJECTIVES[each.name].of_words]
    if len(named) > 1 and len(alone) == len(losses) and losses:
        table.fault(
            f"teacher names {len(named)}, but {', '.join(alone)} asks the first one alone: add mixed-hidden or "
            "mixed-classes, or name one"
        )
    return losses, named or (TEACHER,)


def _teachers(table: Located) -> tuple[str, ...]:
    """One name or a list of them; nothing where the field is missing."""
    if not isinstance(table.value("teacher"), list):
        named = table.optional_text("teacher")
        return (named,) if named else ()
    names = table.texts("teacher")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        table.fault(f"teacher names {twice[0]!r} twice: name each once, and give it more weight")
    if NONE in names:
        table.fault("teacher: 'none' stands in a list: name teachers, or write teacher: none")
    return tuple(dict.fromkeys(name for name in names if name != NONE))


def is_directory(name: str) -> bool:
    """Whether a teacher that no stage is called is a model directory."""
    try:
        return "/" in name or user_path(name).is_dir()
    except InputError:
        return False


def _losses(table: Located, data: str) -> tuple[LossSpec, ...]:
    given = table.value("losses")
    if isinstance(given, list):
        for place, each in enumerate(given):
            if isinstance(each, str):
                given[place] = {"name": each}
    if given is None:
        return (LossSpec(name=VECTORS),) if data == "parallel" else ()
    found: list[LossSpec] = []
    for part in table.tables("losses"):
        name = part.text("name")
        weight = part.number("weight") if part.has("weight") else 1.0
        options = part.value("options") or {}
        part.allow("weight")
        part.finish()
        if not isinstance(options, dict):
            part.fault(f"options is {options!r}: give the objective's fields")
            continue
        spec = LossSpec(name=name, weight=1.0 if weight is None else weight, options=options)
        faults = check_losses([spec]) if name else ()
        for fault in faults:
            part.fault(f"name: {fault}")
        if any(each.name == name for each in found):
            part.fault(f"name is {name!r} for the second time: an objective stands once in a stage")
        elif not faults and name:
            found.append(spec)
    if not given:
        table.fault("losses is empty: give at least one objective")
    return tuple(found)
