"""The user's configuration: a TOML file with a table for each command, whose values stand where none is typed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from polycompress.cli.options import CODES
from polycompress.errors import InputError

_SHOWN: Final = 60


def config_file() -> Path | None:
    """Where the configuration lies.

    ``$POLYCOMPRESS_CONFIG``, else ``polycompress/config.toml`` in ``$XDG_CONFIG_HOME`` or ``~/.config``; never a file
    of the working directory, which may be somebody else's.

    Returns:
        The file; None where there is none.

    Raises:
        InputError: POLYCOMPRESS_CONFIG names no file.
    """
    if named := os.environ.get("POLYCOMPRESS_CONFIG"):
        with suppress(OSError):  # reading it says what is wrong
            if not Path(named).exists():
                raise InputError(
                    f"POLYCOMPRESS_CONFIG is {named}: there is no such file. Write it, or unset it."
                )
        return Path(named)
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111  no home is no error
    path = Path(base) / "polycompress" / "config.toml"
    return path if os.path.lexists(path) else None  # nor is one that may not be entered


def defaults_of(place: Sequence[str], parameters: Sequence[Any], context: Any, path: Path) -> dict[str, Any]:
    """What the configuration says of a command.

    Args:
        place: The command's words, such as ``("bistil", "general")``.
        parameters: Its parameters, of which options can be set.
        context: In which their values are read.
        path: The configuration.

    Returns:
        Values by the parameters' names.

    Raises:
        InputError: The file is no TOML, has a table for no command, or the command's table holds what is no option
            of it or no value of one; every fault is named.
    """
    from polycompress.cli.commands import COMMANDS
    from polycompress.cli.default_command import DEFAULT
    from polycompress.evaluation.toml_tables import near, report

    tables = _read(path)
    faults = [
        f"{name[:_SHOWN]} is no command.{near(name, COMMANDS)}" for name in tables if name not in COMMANDS
    ]
    for group, parts in COMMANDS.items():
        if not isinstance(parts, str) and DEFAULT not in parts and isinstance(tables.get(group), dict):
            faults += [
                f"{group}.{name[:_SHOWN]} is no command.{near(name, parts)}"
                for name in tables[group]
                if name not in parts
            ]
    found = _table(tables, place, faults)
    options = {
        name.removeprefix("--"): each for each in parameters for name in each.opts if name.startswith("--")
    }
    del options["help"]
    values = {}
    for name, given in found.items():
        where = f"{'.'.join(place)}.{name[:_SHOWN]}"
        value = _codes_listed(options.get(name), given)
        if name not in options:
            faults.append(f"{where} is no option of this command.{near(name, options)}")
        elif (fault := _fault(options[name], value, context)) is not None:
            faults.append(f"{where} is {repr(value)[:_SHOWN]}: {fault}")
        else:
            values[options[name].name] = _as_typed(value)
    report(path, faults)
    return values


def typed_defaults(parameters: Sequence[Any], context: Any, defaults: Mapping[str, Any]) -> list[str]:
    """The defaults that a command took, as they would have been typed."""
    words: list[str] = []
    for option, value in _taken(parameters, context, defaults):
        if isinstance(value, bool):
            words += [option] * value
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [option, one]
    return words


def origin(message: str, place: Sequence[str], parameters: Sequence[Any], context: Any) -> str | None:
    """Of a fault that nobody typed, where it comes from.

    Args:
        message: Names an option, or quotes its value.
        place: The command's words.
        parameters: Its parameters.
        context: In which it was called.

    Returns:
        What the configuration says; None where the message is about nothing that was taken from there.
    """
    found = [
        f"{'.'.join(place)}.{option.removeprefix('--')} = {value!r}"
        for option, value in _taken(parameters, context, context.default_map or {})
        if any(
            re.search(rf"(?<![\w-]){re.escape(said)}(?![\w-])", message)
            for said in (option, *(value if isinstance(value, list) else [str(value)]))
            if said.strip("0123456789.-")  # a number may be any
        )
    ]
    return f"{config_file()} says {', '.join(found)}" if found else None


def _taken(
    parameters: Sequence[Any], context: Any, defaults: Mapping[str, Any]
) -> Iterator[tuple[str, bool | str | list[str]]]:
    """Options that nobody typed, and what the configuration says of them."""
    for each in parameters:
        source = context.get_parameter_source(each.name)
        if each.name in defaults and source is not None and source.name == "DEFAULT_MAP":
            yield max(each.opts, key=len), defaults[each.name]


def _read(path: Path) -> dict[str, Any]:
    from polycompress.evaluation.toml_tables import MAX_BYTES, parse_toml

    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Mend or remove it.") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES} bytes; a configuration is a page long.")
    try:
        return parse_toml(content)
    except ValueError as error:
        raise InputError(f"{path}: not TOML ({error}). Mend or remove it.") from error


def _table(tables: Mapping[str, Any], place: Sequence[str], faults: list[str]) -> Mapping[str, Any]:
    """The table of a command, without those of the other commands of its group."""
    from polycompress.cli.commands import COMMANDS

    found: Any = tables
    for depth, word in enumerate(place):
        found = found.get(word, {})
        if not isinstance(found, dict):
            faults.append(
                f"{'.'.join(place[: depth + 1])} is {repr(found)[:_SHOWN]}: give a table of options."
            )
            return {}
    parts = COMMANDS[place[0]] if len(place) == 1 else {}
    return {name: value for name, value in found.items() if isinstance(parts, str) or name not in parts}


def _fault(parameter: Any, value: Any, context: Any) -> str | None:
    """What is wrong with a value of an option, or None."""
    if parameter.is_flag:
        return None if isinstance(value, bool) else "give true or false."
    if parameter.multiple != isinstance(value, list):
        return "give a list of values." if parameter.multiple else "give one value."
    each = value if parameter.multiple else [value]
    if not all(type(one) in (str, int, float) for one in each):
        return "give text or a number."
    if parameter.callback is not None:
        return None  # it would be called
    try:
        parameter.process_value(context, _as_typed(value))
    except Exception as error:  # typer carries its own copy of click, whose errors have no public name
        if not callable(getattr(error, "format_message", None)):
            raise
        return str(getattr(error, "message", error))
    return None


def _codes_listed(parameter: Any, value: Any) -> Any:
    """A value, as a list where it is languages joined by commas."""
    return [value] if getattr(parameter, "metavar", None) == CODES and isinstance(value, str) else value


def _as_typed(value: Any) -> bool | str | list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    return value if isinstance(value, bool) else str(value)
