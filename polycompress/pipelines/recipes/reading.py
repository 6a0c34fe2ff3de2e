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
from polycompress.pipelines.recipes.feeding import MODEL, Feeding
from polycompress.pipelines.recipes.kinds import KINDS
from polycompress.pipelines.recipes.options import Shared, read_options
from polycompress.pipelines.recipes.paths import Paths
from polycompress.pipelines.recipes.stages import Recipe, Stage
from polycompress.training.errors import ConfigError

DATA: Final = "POLYCOMPRESS_DATA"
MAX_STAGES: Final = 100
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
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
    name = table.text("name", path.stem if NAME.fullmatch(path.stem) else None)
    if name and not NAME.fullmatch(name):
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
    listed = table.value("stages")
    if isinstance(listed, list) and not 1 <= len(listed) <= MAX_STAGES:
        table.fault(f"stages: there are {len(listed)}; give 1 to {MAX_STAGES}")
    called = [str(part.value("name")) for part in tables]
    for place, part in enumerate(tables[:MAX_STAGES]):
        name = part.text("name")
        if name and (not NAME.fullmatch(name) or name == MODEL):
            part.fault(f"name is {name[:60]!r}: {_NAMED}, and not 'model', which is the recipe's own")
        if name in names:
            part.fault(f"name is {name!r}, as of a stage before: give each its own")
        later = frozenset(called[place + 1 :])
        stage = _stage(part, name, place, recipe, found, names, later, commands, paths)
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
    later: frozenset[str],
    commands: Commands,
    paths: Paths,
) -> Stage | None:
    what = part.choice("do", tuple(KINDS))
    part.allow("model", "models", "options")
    if what is None:
        return None
    kind, command = KINDS[what], commands(what)
    finder = Feeding(part, ("stages", place), kind, before, names, later, paths)
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


def _line_of(fault: str) -> tuple[int, str]:
    word = fault.removeprefix("line ").split(":", 1)[0]
    return (int(word), "") if word.isdigit() else (1 << 30, fault)
