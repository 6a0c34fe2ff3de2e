"""What a recipe needs to know of a command: its options, and how to call it. The command line says what there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Value = str | int | float | bool | tuple[str, ...]
"""Of an option, once it is settled; a path is a text."""

_OF_LANGUAGES: Final = re.compile(r"\[?LANG[\]=\[]*=\]?(PATTERN|FILE|PATH)\]?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of a command, or one of its arguments."""

    name: str
    """Its long name without dashes, such as ``min-share``."""
    parameter: str
    """Of the Python function."""
    type: type
    """``str``, ``int``, ``float``, ``bool`` or ``Path``; of one that may be repeated, of each."""
    many: bool
    """Whether it may be repeated."""
    is_required: bool
    metavar: str = ""

    @property
    def is_text_optional(self) -> bool:
        """Whether a language alone will do where text may be named, ``LANG[=PATTERN]``."""
        return self.metavar.startswith("LANG[")

    @property
    def stands_for(self) -> Literal["model", "text", "file", "preset", "value"]:
        """What its value names: a model, text as ``[LANG=]PATTERN``, a path, a preset or a file, or only itself."""
        if self.type is str and self.metavar in ("MODEL", "DIR"):
            return "model"
        if self.metavar == "PRESET|FILE":
            return "preset"
        if _OF_LANGUAGES.fullmatch(self.metavar):
            return "text"
        return "file" if self.type is Path else "value"


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of the command line."""

    name: str
    """As it is typed: ``bistil general``."""
    options: Mapping[str, Option]
    """By name."""
    arguments: tuple[Option, ...]
    call: Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]]
    """With values by parameter, and what to record as typed after ``polycompress``; gives what ``--json`` prints."""


Commands = Callable[[str], Command]
"""The command with a name."""


def typed(command: Command, arguments: Sequence[str], options: Mapping[str, Value]) -> list[str]:
    """A call as it would be typed after ``polycompress``."""
    words = [*command.name.split(), *arguments]
    for name, value in options.items():
        if isinstance(value, bool):
            words += [f"--{name}"] if value else []
        else:
            for each in value if isinstance(value, tuple) else (value,):
                words += [f"--{name}", str(each)]
    return words


def as_parameters(command: Command, options: Mapping[str, Value]) -> dict[str, Any]:
    """Values of options as the Python function takes them."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        option = command.options[name]
        if isinstance(value, tuple):
            found[option.parameter] = [option.type(each) for each in value]
        else:
            found[option.parameter] = option.type(value)
    return found
