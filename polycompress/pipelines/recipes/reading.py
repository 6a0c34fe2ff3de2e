"""Read a recipe: its fields, its stages, and what these take of each other. No model is looked at."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.distilling.recipe_yaml import read_document, set_values
from polycompress.pipelines.recipes.commands import Commands
from polycompress.pipelines.recipes.kinds import KINDS, Kind
from polycompress.pipelines.recipes.options import Shared, read_options
from polycompress.pipelines.recipes.paths import Paths
from polycompress.pipelines.recipes.stages import Recipe, Source, Stage
from polycompress.training.errors import ConfigError

MODEL: Final = "model"
"""What stages call the recipe's own model."""
DATA: Final = "POLYCOMPRESS_DATA"
MAX_STAGES: Final = 100
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_NAMED: Final = "give small letters, digits and hyphens, at most 40"


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What was read, and the faults so far; more may follow from its files."""

    recipe: Recipe
    """Complete only where there are no faults."""
    faults: list[str]
    subject: str

    def report(self) -> None:
        """Raise what is wrong.

        Raises:
            ConfigError: With every fault, by its line.
        """
        if self.faults:
            raise ConfigError(sorted(dict.fromkeys(self.faults), key=_line_of), self.subject)


def read_recipe(path: Path, commands: Commands, settings: Sequence[str] = ()) -> Findings:
    """Read a recipe.

    Args:
        path: The file.
        commands: What commands there are.
        settings: ``FIELD=VALUE``, over what the file says.

    Raises:
        InputError: The file cannot be read at all. What is wrong in it is in the findings.
    """
    document = read_document(path)
    set_values(document, settings)
    faults: list[str] = []
    table = Located(document.values, faults, document.lines)
    paths = Paths(Path(os.path.abspath(path)).parent, document.lines)  # noqa: PTH100  links stay as they are
    data = _data(table, paths)
    paths = dataclasses.replace(paths, data=data)
    name = table.text("name", path.stem if _NAME.fullmatch(path.stem) else None)
    if name and not _NAME.fullmatch(name):
        table.fault(f"name is {name[:60]!r}: {_NAMED}")
    given = table.text(MODEL)
    model = table.tried(MODEL, lambda: paths.settle_model(given, (MODEL,))) if given else None
    languages = _languages(table)
    recipe = Recipe(
        name=name,
        model=model or "",
        languages=languages,
        corpora=_corpora(table, paths, languages),
        data=data,
        stages=(),
    )
    stages = _stages(table, recipe, commands, paths)
    table.finish()
    return Findings(
        recipe=dataclasses.replace(recipe, stages=stages), faults=faults, subject=f"The recipe {path}"
    )


def _languages(table: Located) -> tuple[str, ...]:
    """Codes of the registry, each once."""
    if not table.value("languages"):
        return ()
    found = [
        table.tried("languages", functools.partial(find_language, spec)) for spec in table.texts("languages")
    ]
    return tuple(dict.fromkeys(language.code for language in found if language is not None))


def _corpora(table: Located, paths: Paths, languages: Sequence[str]) -> tuple[str, ...]:
    """``CODE=PATTERN`` with absolute patterns."""
    if not table.value("corpora"):
        return ()
    found = [
        table.tried("corpora", functools.partial(_corpus, spec, place, paths, languages))
        for place, spec in enumerate(table.texts("corpora"))
    ]
    return tuple(spec for spec in found if spec is not None)


def _corpus(spec: str, place: int, paths: Paths, languages: Sequence[str]) -> str:
    name, equals, pattern = spec.partition("=")
    if not equals or not name.strip() or not pattern.strip():
        raise InputError(
            f"{spec!r} does not say its language: write LANG=PATTERN, such as sw=texts/sw.txt.gz"
        )
    code = find_language(name.strip()).code
    if languages and code not in languages:
        raise InputError(
            f"{spec!r} is {code}, which is not among languages ({', '.join(languages)}): add it, or leave it out"
        )
    return paths.settle_text(f"{code}={pattern.strip()}", ("corpora", place))


def _data(table: Located, paths: Paths) -> Path | None:
    """The data directory: what was set, else the environment's, else the file's."""
    given = table.optional_text("data")
    if os.environ.get(DATA) and not paths.is_set(("data",)):
        return Path(os.environ[DATA]).absolute()
    if given is not None:
        found = table.tried("data", lambda: paths.settle(given, ("data",), anywhere=True))
        return None if found is None else Path(found)
    return None


def _stages(table: Located, recipe: Recipe, commands: Commands, paths: Paths) -> tuple[Stage, ...]:
    found: list[Stage] = []
    names: dict[str, Stage | None] = {}
    tables = table.tables("stages")
    if not 1 <= len(tables) <= MAX_STAGES and table.has("stages"):
        table.fault(f"stages: there are {len(tables)}; give 1 to {MAX_STAGES}")
    for place, part in enumerate(tables[:MAX_STAGES]):
        name = part.text("name")
        if name and (not _NAME.fullmatch(name) or name == MODEL):
            part.fault(f"name is {name[:60]!r}: {_NAMED}, and not 'model', which is the recipe's own")
        if name in names:
            part.fault(f"name is {name!r}, as of a stage before: give each its own")
        stage = _stage(part, name, place, recipe, found, names, commands, paths)
        names[name] = stage
        if stage is not None:
            found.append(stage)
    return tuple(found)


def _stage(
    part: Located,
    name: str,
    place: int,
    recipe: Recipe,
    before: Sequence[Stage],
    names: dict[str, Stage | None],
    commands: Commands,
    paths: Paths,
) -> Stage | None:
    what = part.choice("do", tuple(KINDS))
    part.allow("model", "models", "options")
    if what is None:
        return None
    kind, command = KINDS[what], commands(what)
    finder = _Finder(part, ("stages", place), kind, before, names, paths)
    sources = finder.sources()
    models, options = read_options(
        part, command, kind, Shared(recipe, paths, ("stages", place), finder.named)
    )
    part.finish()
    return Stage(
        number=place + 1,
        name=name,
        command=command,
        kind=kind,
        sources=sources,
        models=models,
        options=options,
        names_model=part.has("model") or part.has("models"),
        table=part,
    )


@dataclass(frozen=True, slots=True)
class _Finder:
    """The models that feed one stage."""

    part: Located
    where: tuple[str | int, ...]
    kind: Kind
    before: Sequence[Stage]
    names: dict[str, Stage | None]
    """All stages before, those with faults too."""
    paths: Paths

    def sources(self) -> tuple[Source, ...]:
        """Those that are the command's arguments."""
        one, many = self.part.value("model"), self.part.value("models")
        takes = self.kind.takes
        if takes in ("models", "pair"):
            if one is not None:
                self.part.fault("model is given, but this command takes several: give models")
                return ()
            return self._several() if many is not None else self._usual_several()
        if many is not None:
            self.part.fault("models is given, but this command takes one: give model")
        if one is not None:
            given = self.part.text("model")
            return (self.named(given, "model"),) if given else ()
        if takes == "results":
            return self._measured()
        return (self._latest(),)

    def named(self, text: str, field: str, *place: int) -> Source:
        """What a name stands for: a stage before this one, the recipe's model, or another model."""
        if text == MODEL:
            return Source(name=MODEL, is_stage=False)
        if text not in self.names:
            found = self.part.tried(
                field, lambda: self.paths.settle_model(text, (*self.where, *field.split("."), *place))
            )
            return Source(name=found or text, is_stage=False)
        stage = self.names[text]
        if stage is not None and not stage.kind.makes_model:
            self.part.fault(f"{field} is {text!r}: that stage ({stage.command.name}) makes no model")
        elif stage is not None and _has_seeds(stage) and not self.kind.takes_runs:
            self.part.fault(
                f"{field} is {text!r}: that stage makes a model of each seed; take one with seeds: 1"
            )
        return Source(name=text, is_stage=True)

    def _several(self) -> tuple[Source, ...]:
        texts = self.part.texts("models")
        if self.kind.takes == "pair" and len(texts) != 2:
            self.part.fault(f"models: there are {len(texts)}; give two: a model and what was made from it")
        return tuple(self.named(text, "models", place) for place, text in enumerate(texts))

    def _usual_several(self) -> tuple[Source, ...]:
        """The latest model, and what it was made from."""
        latest = self._latest()
        made = next((stage for stage in self.before if latest.is_stage and stage.name == latest.name), None)
        if made is None or not made.sources:
            self.part.fault("models is missing: give a list of models, such as [model, small]")
            return ()
        if self.kind.takes == "models":
            return (Source(name=MODEL, is_stage=False), latest)
        return (made.sources[0], latest)

    def _latest(self) -> Source:
        makers = [stage for stage in self.before if stage.kind.makes_model]
        return self.named(makers[-1].name if makers else MODEL, "model")

    def _measured(self) -> tuple[Source, ...]:
        found = [stage for stage in self.before if stage.kind.leaves in ("results", "file")]
        if not found:
            self.part.fault(
                "do: there is nothing to report: let a stage that measures, eval or bench, come before"
            )
        return tuple(Source(name=stage.name, is_stage=True) for stage in found)


def _has_seeds(stage: Stage) -> bool:
    return stage.options.get("seeds", 1) != 1


def _line_of(fault: str) -> tuple[int, str]:
    word = fault.removeprefix("line ").split(":", 1)[0]
    return (int(word), "") if word.isdigit() else (1 << 30, fault)
