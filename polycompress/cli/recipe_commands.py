"""Commands as recipes call them: their options after the functions that the command line is made of."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from typer.models import OptionInfo

from polycompress.cli.commands import function_of
from polycompress.cli.options import CODES
from polycompress.pipelines.recipes.commands import Command, Option

_TYPES: Final = (bool, int, float, str, Path)


@functools.cache
def recipe_command(name: str) -> Command:
    """The command with a name, such as ``bistil general``."""
    function = function_of(name)
    hints = typing.get_type_hints(function, include_extras=True)
    found = [
        _option(parameter, hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
    ]
    return Command(
        name=name,
        options={option.name: option for is_option, option in found if is_option and option is not None},
        arguments=tuple(option for is_option, option in found if not is_option and option is not None),
        call=functools.partial(_call, function),
    )


def _option(parameter: inspect.Parameter, hint: Any) -> tuple[bool, Option | None]:
    """Whether a parameter is an option, and what is known of it; None of one whose type no recipe can write."""
    base, info = typing.get_args(hint)
    is_option = isinstance(info, OptionInfo)
    # In an annotation the first name stands where otherwise the default does.
    names = [
        each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("--") and is_option
    ]
    kind, many = _type(base)
    if kind is None:
        return is_option, None
    return is_option, Option(
        name=names[0].removeprefix("--") if names else parameter.name.replace("_", "-"),
        parameter=parameter.name,
        type=kind,
        many=many and info.metavar != CODES,  # codes are one value, joined by commas
        is_required=parameter.default is inspect.Parameter.empty,
        metavar=info.metavar or "",
    )


def _type(hint: Any) -> tuple[type | None, bool]:
    """The type of each value, and whether there may be several."""
    if typing.get_origin(hint) is list:
        return _type(typing.get_args(hint)[0])[0], True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    return (hint, False) if hint in _TYPES else (None, False)


def _call(function: Any, parameters: Mapping[str, Any], typed: Sequence[str]) -> dict[str, Any]:
    """Call a command with ``--json``; what it prints is what it gives.

    Commands record what was typed: for as long as one is at work, that is its own call.
    """
    before, sys.argv = sys.argv, ["polycompress", *typed]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, _threads_kept():
            function(**parameters, json=True)
    finally:
        sys.argv = before
    found: dict[str, Any] = json.loads(printed.getvalue() or "{}")
    return found


@contextlib.contextmanager
def _threads_kept() -> Iterator[None]:
    """What ``--threads`` sets is for one command: those after it compute as if they ran alone."""
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    try:
        yield
    finally:
        if before is not None:
            sys.modules["torch"].set_num_threads(before)
