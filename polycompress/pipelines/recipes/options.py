"""The options of a stage: checked against the command's own, and filled up with what the recipe says for all."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.toml_tables import near
from polycompress.languages import find_language
from polycompress.pipelines.distilling.recipe_table import Located, Where
from polycompress.pipelines.recipes.commands import Command, Option, Value
from polycompress.pipelines.recipes.kinds import ALL, FIRST, OTHERS, RESERVED, SECOND, Kind
from polycompress.pipelines.recipes.paths import Paths
from polycompress.pipelines.recipes.stages import Recipe, Source

_WANTED: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
_LANGUAGES: Final[Mapping[str, slice]] = {
    ALL: slice(None),
    FIRST: slice(1),
    SECOND: slice(1, 2),
    OTHERS: slice(1, None),
}
_SHOWN: Final = 60
_PICTURE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(?:png|svg|pdf)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the options of a stage are read with."""

    recipe: Recipe
    """Its stages are not there yet."""
    paths: Paths
    where: Where
    """The stage's place in the file."""
    named: Callable[..., Source]
    """The model that a name stands for, by name and field."""


def read_options(
    part: Located, command: Command, kind: Kind, shared: Shared
) -> tuple[dict[str, Source], dict[str, Value]]:
    """The options of one stage; what is wrong becomes faults.

    Args:
        part: The stage.
        command: Its command.
        kind: What a recipe does with that.
        shared: What all stages know.

    Returns:
        Those that name models, and the others.
    """
    table = part.table("options") or Located({}, part.faults, {})
    free = [name for name in command.options if name not in (*RESERVED, *kind.refused)]
    models: dict[str, Source] = {}
    options: dict[str, Value] = {}
    for name in table.names():
        value, option = table.value(name), command.options.get(name)
        if name in RESERVED and option is not None:
            part.fault(f"options.{name} is given, but that is for the run to say: leave it out")
        elif name in kind.refused and option is not None:
            part.fault(f"options.{name} is given, but a stage cannot take it: leave it out")
        elif option is None:
            hint = near(name, free) or f" There are {', '.join(free)}."
            part.fault(f"options.{name[:_SHOWN]} is no option of {command.name}.{hint}")
        elif option.stands_for == "model" and isinstance(value, str):
            models[name] = shared.named(value, f"options.{name}")
        else:
            settle = _picture if name in kind.pictures else _value
            found = part.tried(f"options.{name}", functools.partial(settle, option, value, shared))
            if found is not None:
                options[name] = found
    _fill(part, command, kind, shared, options)
    for name in free:
        if command.options[name].is_required and not table.has(name) and name not in options:
            wanted = "texts" if command.options[name].many else _WANTED[command.options[name].type]
            part.fault(f"options: {name} is missing: give {wanted}")
    # As the command has them, whatever the order in the file: alike settings are alike keys.
    ordered = {name: options[name] for name in command.options if name in options}
    return {name: models[name] for name in command.options if name in models}, ordered


def _picture(option: Option, value: Any, shared: Shared) -> Value:
    """The name of a file in the stage's output.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, str) or not _PICTURE.fullmatch(value):
        raise InputError(
            f"options.{option.name} is {repr(value)[:_SHOWN]}: give the name of a file in the stage's output, such as "
            f"{option.name}.png, .svg or .pdf"
        )
    return value


def _value(option: Option, value: Any, shared: Shared) -> Value:
    """A value as the command takes it.

    Raises:
        InputError: It does not.
    """
    where = (*shared.where, "options", option.name)
    if option.many:
        values = value if isinstance(value, list) else [value]
        return tuple(
            str(_settled(option, _plain(option, each), (*where, place), shared))
            for place, each in enumerate(values)
        )
    if isinstance(value, list) and option.type is str and value:
        value = ",".join(str(_plain(option, each)) for each in value)
    return _settled(option, _plain(option, value), where, shared)


def _plain(option: Option, value: Any) -> str | int | float | bool:
    kind = option.type
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and type(value) is int:
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is str and type(value) in (str, int, float):
        return str(value)
    if kind is Path and isinstance(value, str) and value:
        return value
    raise InputError(f"options.{option.name} is {repr(value)[:_SHOWN]}: give {_WANTED.get(kind, 'another')}")


def _settled(
    option: Option, value: str | int | float | bool, where: Where, shared: Shared
) -> str | int | float | bool:
    """Paths absolute, all else as it is."""
    if isinstance(value, str) and option.is_text_optional and "=" not in value:
        return value
    if isinstance(value, str) and option.stands_for == "text":
        return shared.paths.settle_text(value, where)
    if isinstance(value, str) and option.stands_for == "preset":
        return shared.paths.settle_if_there(value, where)
    if isinstance(value, str) and option.stands_for == "file":
        return shared.paths.settle(value, where, anywhere=option.name == "data")
    return value


def _fill(part: Located, command: Command, kind: Kind, shared: Shared, options: dict[str, Value]) -> None:
    """Languages, text and data of the recipe, where the stage says none of its own."""
    recipe = shared.recipe
    for name, which in kind.languages.items():
        if name in options:
            continue
        codes = recipe.languages[_LANGUAGES[which]]
        if codes:
            options[name] = ",".join(codes)
    if kind.reads_text and "corpus" not in options:
        asked = _asked(part, kind, options)
        texts = tuple(spec for spec in recipe.corpora if not asked or spec.partition("=")[0] in asked)
        if texts:
            options["corpus"] = texts
    if kind.compares_text and "text" not in options:
        asked = _asked(part, kind, options)
        if any(find_language(code).wordfreq is None for code in asked):
            texts = tuple(spec for spec in recipe.corpora if spec.partition("=")[0] in asked)
            if texts:
                options["text"] = texts
    if "data" in command.options and "data" not in options and recipe.data is not None:
        options["data"] = str(recipe.data)


def _asked(part: Located, kind: Kind, options: Mapping[str, Value]) -> tuple[str, ...]:
    """Codes of the languages that a stage asks for."""
    names = [name for name in (*kind.languages, "langs") if name in options]
    found = [
        part.tried(f"options.{name}", functools.partial(find_language, spec.strip()))
        for name in dict.fromkeys(names)
        for spec in str(options[name]).split(",")
        if spec.strip()
    ]
    return tuple(language.code for language in found if language is not None)
