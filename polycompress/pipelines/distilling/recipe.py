"""A recipe of distillation: teacher, student, languages, text, and stages, read from a YAML file."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from polycompress.corpora import CorpusSpec, Reading
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.recipe_checks import check_stages
from polycompress.pipelines.distilling.recipe_data import read_corpora
from polycompress.pipelines.distilling.recipe_stages import Stage, read_stages
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.distilling.recipe_yaml import put_fields, read_document, set_values
from polycompress.resources import data_path
from polycompress.training.errors import ConfigError

MIN_SHARE: Final = 1e-6
"""Relative frequency from which on a token is kept; BiStil's."""
_TEACHER: Final = re.compile(r"^teacher:", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentAsked:
    """The student before the first stage."""

    directory: str | None
    """A model that is there; None: it is made out of the teacher."""
    layers: int
    """Of one that is made."""
    layer_map: tuple[int, ...]
    """Layers of the teacher, for each of the student's; empty: ``strategy`` chooses."""
    strategy: Literal["every-nth", "bottom"]
    trim: bool
    """Whether teacher and student lose what the languages' text does not use."""
    min_share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A file, read and checked as far as that can be done without its models."""

    name: str
    teacher: str
    student: StudentAsked
    languages: tuple[Language, ...]
    """Source, then those that the student is for."""
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    data: Path | None
    """A data directory of tasks; None: the hub."""
    tasks: Path | None
    """A directory of further task files."""
    stages: tuple[Stage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What was read, and the faults so far; more may follow from the models."""

    recipe: Recipe
    """Complete only where there are no faults."""
    table: Located
    """The file, for further faults."""
    faults: list[str]
    subject: str

    def report(self) -> None:
        """Raise what is wrong.

        Raises:
            ConfigError: With every fault.
        """
        if self.faults:
            ordered = sorted(dict.fromkeys(self.faults), key=_line_of)
            raise ConfigError(ordered, self.subject)


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path, or the name of one in ``eval/recipes/``."""
    return Path(name) if Path(name).exists() else _own_recipes().get(name, Path(name))


def _own_recipes() -> dict[str, Path]:
    """Those that come with the program, by name; recipes of whole runs, which have no teacher, are not among them."""
    paths = sorted((data_path("eval") / "recipes").glob("*.yaml"))
    return {path.stem: path for path in paths if _TEACHER.search(path.read_text(encoding="utf-8"))}


def given_fields(
    *,
    teacher: str | None = None,
    student: str | None = None,
    source: str | None = None,
    target: str | None = None,
    corpus: Sequence[str] = (),
    held_out: Sequence[str] = (),
) -> dict[str, tuple[Any, str]]:
    """What a command was told besides a file, as fields of it, each with the option that it was given with."""
    targets = [each.strip() for each in (target or "").split(",") if each.strip()]
    found = {
        "teacher": (teacher, "TEACHER"),
        "student": ({"directory": student} if student else None, "--student"),
        "languages.source": (source, "--source"),
        "languages.target": (targets, "--target"),
        "corpora": (list(corpus), "--corpus"),
        "held_out": (list(held_out), "--held-out"),
    }
    return {name: each for name, each in found.items() if each[0]}


def read_recipe(
    path: Path,
    settings: Sequence[str] = (),
    data: Path | None = None,
    given: Mapping[str, tuple[Any, str]] | None = None,
) -> Findings:
    """Read a recipe; no model is looked at.

    Args:
        path: The file.
        settings: ``FIELD=VALUE``, over what the file says.
        data: A data directory, instead of the file's.
        given: Further fields over what the file says, as ``given_fields`` has them; settings go before them.

    Raises:
        InputError: The file cannot be read at all. What is wrong in it is in the findings.
    """
    if not path.exists():
        raise InputError(
            f"{path}: cannot be read: there is no such file. Check its name, or give a recipe that comes with the "
            f"program: {', '.join(_own_recipes())}."
        )
    document = read_document(path)
    put_fields(document, given or {})
    set_values(document, settings)
    faults: list[str] = []
    table = Located(document.values, faults, document.lines)
    teacher = table.text("teacher")
    languages = _languages(table)
    field = table.optional_text("field")
    reading = Reading(field=field)
    table.allow("data")
    data, tasks = data or _path(table, "data"), _path(table, "tasks")
    recipe = Recipe(
        name=table.text("name", path.stem),
        teacher=teacher,
        student=_student(table),
        languages=languages,
        corpora=read_corpora(table, "corpora", languages, reading),
        held_out=read_corpora(table, "held_out", languages, reading),
        reading=reading,
        data=data,
        tasks=tasks,
        stages=read_stages(table, languages, reading, data, tasks),
    )
    table.finish()
    check_stages(
        recipe.stages, table, {spec.language for spec in recipe.corpora}, languages, recipe.student.trim
    )
    return Findings(recipe=recipe, table=table, faults=faults, subject=f"The recipe {path}")


def _path(table: Located, name: str) -> Path | None:
    given = table.optional_text(name)
    return None if given is None else table.tried(name, lambda: user_path(given))


def _languages(table: Located) -> tuple[Language, ...]:
    part = table.table("languages")
    if part is None:
        table.text("languages.source")
        return ()
    before = len(table.faults)
    specs = {"source": [part.text("source")], "target": part.texts("target", ())}
    asked = [(name, spec) for name, some in specs.items() for spec in some if spec]
    found = [part.tried(name, functools.partial(find_language, spec)) for name, spec in asked]
    if len(table.faults) > before:
        found = []  # what follows from it would be faults of nothing else
    part.finish()
    return tuple(dict.fromkeys(language for language in found if language is not None))


def _student(table: Located) -> StudentAsked:
    part = table.table("student") or Located({}, table.faults, {})
    directory = part.optional_text("directory")
    layer_map = part.value("layer_map") or []
    if not isinstance(layer_map, list) or not all(type(layer) is int for layer in layer_map):
        part.fault(f"layer_map is {layer_map!r}: give a list of layers of the teacher, such as [1, 3, 5]")
        layer_map = []
    layers = part.whole("layers", len(layer_map) or 6)
    if layers < 1:
        part.fault(f"layers is {layers}: give at least 1")
    if layer_map and part.has("layers") and layers != len(layer_map):
        part.fault(f"layers is {layers}, but layer_map names {len(layer_map)}: let both agree")
    strategy = (
        part.choice("strategy", ("every-nth", "bottom")) if part.has("strategy") else None
    ) or "every-nth"
    trim = part.is_on("trim", directory is None)
    share = part.number("min_share") if part.has("min_share") else MIN_SHARE
    part.allow("strategy", "min_share")
    if not 0 < (share or 0) < 1:
        part.fault(f"min_share is {share}: give a share between 0 and 1, such as 1e-6")
    if directory is not None:
        for name in ("layers", "strategy"):
            if part.has(name):
                part.fault(f"{name} is for a student that is made, but directory names one that is there")
        if trim:
            part.fault(
                "trim is true, but a student that is there keeps its vocabulary: trim both models before"
            )
    if not trim and part.has("min_share"):
        part.fault("min_share is given, but trim is false: leave it out")
    part.finish()
    return StudentAsked(
        directory=directory,
        layers=layers,
        layer_map=tuple(layer_map),
        strategy=cast("Literal['every-nth', 'bottom']", strategy),
        trim=trim,
        min_share=share or MIN_SHARE,
    )


def _line_of(fault: str) -> tuple[int, str]:
    word = fault.removeprefix("line ").split(":", 1)[0]
    return (int(word), "") if word.isdigit() else (1 << 30, fault)
