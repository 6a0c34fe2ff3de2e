"""What a run's directory says of itself: its recipe, a record of each finished stage, and ``run.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.figures import items_of, part_of
from polycompress.modeldir.paths import safe_path
from polycompress.pipelines.distilling.recipe_yaml import read_document
from polycompress.pipelines.recipes.directory import RECIPE, RUN, STAGES, read_note
from polycompress.pipelines.recipes.kinds import KINDS
from polycompress.pipelines.recipes.reading import MAX_STAGES, NAME

_OUTPUT: Final = re.compile(rf"(?:{STAGES}/)?\d{{1,3}}-(?P<name>[a-z0-9-]+)(?:/|\Z)", re.ASCII)
"""Of a stage, as commands name it: the path, or its last part alone."""
_FIELDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "do": str,
    "key": str,
    "identity": dict,
    "typed": list,
    "result": (dict, type(None)),
}
"""Of a stage's record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFound:
    """One stage, finished or not."""

    number: int
    """From 1."""
    name: str
    do: str
    takes: tuple[str, ...]
    """Stages, or ``model`` for the recipe's own, or other models."""
    place: Path
    """Of its output, which a stage need not have."""
    is_finished: bool
    key: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)
    typed: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def makes_model(self) -> bool:
        """Whether later stages can begin with what it leaves."""
        return self.do in KINDS and KINDS[self.do].makes_model


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFound:
    """A run of a recipe, as far as it has come."""

    root: Path
    name: str
    model: str
    """As the recipe names it."""
    languages: tuple[str, ...]
    """Codes."""
    stages: tuple[StageFound, ...]
    times: Mapping[str, Any] | None
    """What ``run.json`` holds; None: it is not to be shown."""
    notes: tuple[str, ...]

    @property
    def finished(self) -> tuple[StageFound, ...]:
        """Stages that are."""
        return tuple(each for each in self.stages if each.is_finished)

    def stage_at(self, path: str) -> StageFound | None:
        """The stage whose output a command named by a path, which may have had another number then."""
        match = _OUTPUT.match(path)
        return next((each for each in self.stages if match is not None and each.name == match["name"]), None)


def is_recipe_run(root: Path) -> bool:
    """Whether a directory is that of a recipe's run."""
    return (root / RECIPE).is_file() and (root / STAGES).is_dir()


def read_recipe_run(root: Path, *, before: str | None = None) -> RunFound:
    """Read a run.

    Args:
        root: Its directory.
        before: Only the stages before the one with this name, and nothing of ``run.json``: what is found is then the
            same whenever and wherever the run was made. None: all.

    Raises:
        InputError: The recipe or records are damaged, every fault being named; or there is no such stage.
    """
    faults: list[str] = []
    values = read_document(root / RECIPE).values
    name, model = (_text(values, each, faults, root) for each in ("name", "model"))
    listed = _listed(values, root, faults)
    if before is not None:
        names = [each["name"] for each in listed]
        if before not in names and not faults:
            raise InputError(
                f"--before {before[:60]!r}: there is no such stage; there are {', '.join(names)}."
            )
        listed = listed[: names.index(before)] if before in names else listed
    stages = tuple(_stage(root, number, each, faults) for number, each in enumerate(listed, start=1))
    if faults:
        raise InputError(f"{root}: damaged in {len(faults)} places:\n  " + "\n  ".join(faults[:20]))
    return RunFound(
        root=root,
        name=name,
        model=model,
        languages=tuple(map(str, items_of(values, "languages"))),
        stages=stages,
        times=read_note(root / RUN) if before is None else None,
        notes=_stale(stages),
    )


def _text(values: Mapping[str, Any], name: str, faults: list[str], root: Path) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        faults.append(f"{root / RECIPE}: '{name}' is missing or no text. Carry out the recipe again.")
    return str(value)


def _listed(values: Mapping[str, Any], root: Path, faults: list[str]) -> list[dict[str, Any]]:
    """The stages of the recipe whose names can be those of files."""
    found = values.get("stages")
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_STAGES:
        faults.append(
            f"{root / RECIPE}: 'stages' is no list of 1 to {MAX_STAGES}. Carry out the recipe again."
        )
        return []
    kept = []
    for number, each in enumerate(found, start=1):
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name) or not isinstance(each.get("do"), str):
            faults.append(f"{root / RECIPE}: stages[{number}] has no usable 'name' and 'do'.")
        else:
            kept.append(each)
    return kept


def _stage(root: Path, number: int, listed: Mapping[str, Any], faults: list[str]) -> StageFound:
    name, do = listed["name"], listed["do"]
    place = safe_path(root, f"{STAGES}/{number}-{name}")
    path = safe_path(root, f"{STAGES}/{number}-{name}.json")
    record = read_note(path)
    takes = [listed.get("model"), *items_of(listed, "models")]
    if not record:
        return StageFound(
            number=number, name=name, do=do, takes=_texts(takes), place=place, is_finished=False
        )
    wrong = [
        f"{path}: {field!r} is {type(record.get(field)).__name__}. Remove the file, and the stage is done again."
        for field, kind in _FIELDS.items()
        if not isinstance(record.get(field), kind)
    ]
    if not wrong and record["do"] != do:
        wrong = [
            f"{path}: 'do' is {record['do'][:40]!r}, in the recipe {do[:40]!r}. Carry the recipe out again."
        ]
    if wrong:
        faults += wrong
        record = {"key": "", "identity": {}, "typed": [], "result": None}
    named = part_of(record["identity"], "named").values()
    takes += [each.get("stage", each.get("model")) for each in named if isinstance(each, Mapping)]
    return StageFound(
        number=number,
        name=name,
        do=do,
        takes=_texts(takes),
        place=place,
        is_finished=True,
        key=record["key"],
        identity=record["identity"],
        typed=tuple(map(str, record["typed"])),
        result=record["result"] or {},
    )


def _texts(values: list[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for each in values if isinstance(each, str)))


def _stale(stages: tuple[StageFound, ...]) -> tuple[str, ...]:
    """What was made of something that has changed since."""
    keys = {each.name: each.key for each in stages if each.is_finished}
    notes = []
    for each in stages:
        sources = [*items_of(each.identity, "models"), *part_of(each.identity, "named").values()]
        for source in sources:
            name = source.get("stage") if isinstance(source, Mapping) else None
            if isinstance(name, str) and name in keys and keys[name] != source.get("key"):
                notes.append(
                    f"{each.name} was made of an earlier state of {name}: carry the recipe out again"
                )
    return tuple(dict.fromkeys(notes))
