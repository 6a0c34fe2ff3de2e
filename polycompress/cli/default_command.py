"""Groups of commands with one that is meant where none is named: ``ofa MODEL`` beside ``ofa export DIR``."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

DEFAULT: Final = "MODEL"
"""What the command is called that needs no name, after its first argument."""
_HELP: Final = ("--help", "-h")


class GroupWithDefault(TyperGroup):
    """A group whose command ``MODEL`` takes what begins with none of the commands' names.

    A directory that is called like a command is written ``./export``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name in front of arguments that begin with none."""
        if DEFAULT in self.commands and args and args[0] not in (*self.commands, *_HELP):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names of commands but the one that needs none, whose options are offered instead."""
        default = self.commands.get(DEFAULT)
        found = [each for each in super().shell_complete(ctx, incomplete) if each.value != DEFAULT]
        if default is None:
            return found
        return [each for each in found if each.value not in _HELP] + default.shell_complete(ctx, incomplete)
