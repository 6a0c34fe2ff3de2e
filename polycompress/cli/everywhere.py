"""Options that every command has, before its name or after it, and commands that know defaults of the user's."""

from __future__ import annotations

import functools
import logging
import platform
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

import polycompress
from polycompress.cli import logs
from polycompress.cli.defaults import config_file, defaults_of, origin, typed_defaults
from polycompress.errors import InputError

_PANEL: Final = "Options of every command"
_HELP: Final = ("--help", "-h")


def _be_verbose(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        _refuse_both(context, "verbose")
        logs.show_from(logging.DEBUG)


def _be_quiet(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        _refuse_both(context, "quiet")
        logs.show_from(logging.ERROR)


def _refuse_both(context: typer.Context, asked: str) -> None:
    if context.meta.setdefault("polycompress.logs", asked) != asked:
        raise InputError("--quiet shows nothing but errors and --verbose everything: give one of them.")


def _log_to(context: typer.Context, value: Path | None) -> None:
    if value is not None and not context.resilient_parsing:
        logs.write_to(value)
        versions = f"polycompress {polycompress.__version__}, Python {platform.python_version()}"
        logs.record(logging.INFO, f"{versions}: {' '.join(sys.argv[1:])}")


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Log what is done to stderr.",
        callback=_be_verbose,
        expose_value=False,
        rich_help_panel=_PANEL,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Show no bars and no warnings, only results and errors.",
        callback=_be_quiet,
        expose_value=False,
        rich_help_panel=_PANEL,
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file",
        metavar="FILE",
        help="Log everything to the end of this file, with times.",
        callback=_log_to,
        expose_value=False,
        rich_help_panel=_PANEL,
    ),
]


class Command(TyperCommand):
    """A command with the options of every command, and with defaults out of the user's configuration."""

    place: tuple[str, ...] = ()
    """Its words, as they are typed and as the tables of the configuration are called."""

    def get_help_option_names(self, ctx: Any) -> list[str]:
        """The same in whatever context the command is first looked at: the option is made once."""
        return ["-h", "--help"]

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own parameters and those of every command."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_parameters(), help_option]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed; what was not typed comes from the environment, the configuration, the command."""
        defaults = {}
        if not ctx.resilient_parsing and not set(_HELP) & set(args) and (path := config_file()):
            defaults = defaults_of(self.place, self.get_params(ctx), ctx, path)
        ctx.default_map = defaults
        rest: list[str] = super().parse_args(ctx, args)
        if used := typed_defaults(self.get_params(ctx), ctx, defaults):
            # Cards and manifests tell the command that makes the same again, whoever's configuration is read.
            sys.argv = [*sys.argv, *used]
            logging.getLogger(__name__).info("from %s: %s", path, " ".join(used))
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Carry it out; a fault of what was not typed tells where it was written."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            if said := origin(str(error), self.place, self.get_params(ctx), ctx):
                error.add_note(said)
            raise


@functools.cache
def _parameters() -> tuple[Any, ...]:
    app = typer.Typer(add_completion=False)
    app.command()(_options)
    return tuple(get_command(app).params)


def _options(verbose: Verbose = False, quiet: Quiet = False, log_file: LogFile = None) -> None:
    """What the options above belong to."""
