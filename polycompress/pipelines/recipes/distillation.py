"""A stage that distils: what the recipe of distillation that it names reads, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycompress.errors import MissingExtraError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.recipes.stages import Stage

if TYPE_CHECKING:
    from polycompress.pipelines.distilling.recipe import Recipe

_TO_COME = "demo"
"""Stands for a model of a stage: no model is looked at here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    """What decides a distillation, besides the stage's options and models."""

    path: Path
    texts: tuple[tuple[str, tuple[Path, ...]], ...]
    """Language or languages, and files, in order."""
    models: tuple[str, ...]
    """Model directories that the file names."""
    tasks: tuple[TaskSpec, ...]
    data: Path | None
    """A data directory of tasks; None: the hub."""


def read_inner(stage: Stage) -> Inner:
    """Read the recipe of distillation that a stage names.

    Args:
        stage: Of the kind ``distil``.

    Returns:
        What it reads.

    Raises:
        ConfigError: It is wrong, or its paths begin at the working directory, which is another one when the stage is at
            work; every fault is named.
        InputError: It cannot be read at all, or torch, which knows its objectives, is not installed.
    """
    try:
        from polycompress.pipelines.distilling.recipe import find_recipe, given_fields, read_recipe
        from polycompress.pipelines.distilling.recipe_checks import check_examples
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress distil", "train") from error
    options = stage.options
    path = find_recipe(str(options["config"]))
    given = given_fields(
        teacher=_TO_COME,
        student=_TO_COME if "student" in stage.models else None,
        source=_text(options.get("source")),
        target=_text(options.get("target")),
        corpus=_texts(options.get("corpus")),
        held_out=_texts(options.get("held-out")),
    )
    data = options.get("data")
    findings = read_recipe(path, _texts(options.get("set")), None if data is None else Path(str(data)), given)
    recipe = findings.recipe
    check_examples(recipe.stages, recipe.data)
    named = () if "student" in stage.models else _models(recipe)
    findings.faults.extend(
        f"{field} is {text!r}, which would begin at the run's directory: write the whole path"
        for field, text in _paths(recipe, named)
        if not user_path(text).is_absolute()
    )
    findings.report()
    return Inner(
        path=path,
        texts=tuple(_files(recipe)),
        models=named,
        tasks=tuple(each.task for each in recipe.stages if each.task is not None),
        data=recipe.data,
    )


def _models(recipe: Recipe) -> tuple[str, ...]:
    """The student and further teachers, where the file names directories."""
    from polycompress.pipelines.distilling.recipe_learning import is_directory

    teachers = (name for each in recipe.stages for name in each.teachers if is_directory(name))
    student = () if recipe.student.directory is None else (recipe.student.directory,)
    return tuple(dict.fromkeys((*student, *teachers)))


def _paths(recipe: Recipe, models: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Fields of the file, and the paths that they name; a model that is not there as a directory is a name."""
    for field, specs in (("corpora", recipe.corpora), ("held_out", recipe.held_out)):
        yield from ((field, spec.pattern) for spec in specs)
    yield from (("data", str(path)) for path in (recipe.data,) if path is not None)
    yield from (("tasks", str(path)) for path in (recipe.tasks,) if path is not None)
    for name in models:
        if name == recipe.student.directory:
            if user_path(name).is_dir():
                yield "student.directory", name
        else:
            yield "teacher", name
    for stage in recipe.stages:
        where = f"stages.{stage.name}"
        yield from ((f"{where}.transfer", spec.pattern) for spec in stage.transfer)
        yield from ((f"{where}.pairs", spec.pattern) for spec in stage.pairs)
        yield from ((f"{where}.keep", str(path)) for path in (stage.keep,) if isinstance(path, Path))


def _files(recipe: Recipe) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """All text, with its language or languages."""
    transfer = [spec for stage in recipe.stages for spec in stage.transfer]
    for spec in (*recipe.corpora, *recipe.held_out, *transfer):
        yield spec.language.code, spec.files
    for stage in recipe.stages:
        for pairs in stage.pairs:
            yield from ((pairs.name, part) for part in pairs.files)


def _texts(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
