"""The program: one subcommand per module of this room."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import getdoc
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

import polycompress
from polycompress.cli import (
    bistil,
    bistil_general,
    bistil_task,
    console,
    ofa,
    ofa_export,
    sft,
    tokenizer,
    vectors,
)
from polycompress.cli.bench import bench
from polycompress.cli.convert_tokenizer import convert_tokenizer
from polycompress.cli.count import count
from polycompress.cli.default_command import DEFAULT, GroupWithDefault
from polycompress.cli.demo_model import demo_model
from polycompress.cli.distil import distil
from polycompress.cli.eval import evaluate
from polycompress.cli.factorise import factorise
from polycompress.cli.finetune import finetune
from polycompress.cli.inspect import inspect
from polycompress.cli.languages import languages
from polycompress.cli.mlm import mlm
from polycompress.cli.plan import plan
from polycompress.cli.report import report
from polycompress.cli.students import students
from polycompress.cli.tasks import tasks
from polycompress.cli.trim import trim
from polycompress.cli.verify import verify
from polycompress.errors import PolycompressError

INTERRUPTED: Final = 128 + signal.SIGINT
_MULTIPLYING: Final = frozenset({"factorise", "ofa", "vectors"})
"""Commands that multiply large matrices with numpy."""

app = typer.Typer(
    name="polycompress",
    help="Make multilingual language models small: for one language, for two, or for a family.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"polycompress {polycompress.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done to stderr.")] = False,
) -> None:
    """Options of every command."""
    console.log_to_stderr(verbose=verbose)


def _help(command: Callable[..., None]) -> str:
    """A command's docstring, its examples a paragraph each."""
    return (getdoc(command) or "").replace("Examples:\n", "Examples:\n\n")


for _name, _command in (
    ("demo-model", demo_model),
    ("languages", languages),
    ("inspect", inspect),
    ("plan", plan),
    ("trim", trim),
    ("verify", verify),
    ("count", count),
    ("mlm", mlm),
    ("tasks", tasks),
    ("finetune", finetune),
    ("eval", evaluate),
    ("bench", bench),
    ("distil", distil),
    ("students", students),
    ("factorise", factorise),
    ("report", report),
    ("convert-tokenizer", convert_tokenizer),
):
    app.command(_name, help=_help(_command))(_command)


_Parts = tuple[tuple[str, Callable[..., None]], ...]
_GROUPS: Final[tuple[tuple[str, str, _Parts], ...]] = (
    ("bistil", bistil.HELP, (("general", bistil_general.general), ("task", bistil_task.task))),
    ("ofa", ofa.HELP, ((DEFAULT, ofa.ofa), ("export", ofa_export.export))),
    ("sft", sft.HELP, (("apply", sft.apply), ("diff", sft.diff), ("show", sft.show))),
    (
        "tokenizer",
        tokenizer.HELP,
        (("train", tokenizer.train), ("extend", tokenizer.extend), ("compare", tokenizer.compare)),
    ),
    (
        "vectors",
        vectors.HELP,
        (("train", vectors.train), ("align", vectors.align), ("show", vectors.show)),
    ),
)
for _name, _about, _parts in _GROUPS:
    _group = typer.Typer(
        cls=GroupWithDefault, help=_about.replace("Examples:\n", "Examples:\n\n"), no_args_is_help=True
    )
    for _part_name, _part in _parts:
        _group.command(_part_name, help=_help(_part))(_part)
    app.add_typer(_group, name=_name)


class _Terminated(SystemExit):
    """SIGTERM, as an exception so that nothing half-written is left."""


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated(128 + signum)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 2 the request or input is wrong, 1 it failed otherwise, 130 / 143 after a signal.
    """
    try:
        code = app(args=list(arguments), prog_name="polycompress", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED  # typer itself returns this for most interrupts
    except PolycompressError as error:
        console.print_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what reads our output is gone
        return 1
    except MemoryError:
        console.print_error("out of memory; nothing half-written was left")
        return 1
    except OSError as error:
        console.print_error(f"{error}. Nothing half-written was left")
        return 1
    except Exception as error:
        # A wrong option or argument: typer carries its own copy of click, whose base class has no public name.
        if not callable(show := getattr(error, "show", None)):
            raise
        show()
        return int(getattr(error, "exit_code", 2))
    if code == INTERRUPTED:
        console.print_error("interrupted; nothing half-written was left")
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _terminate)
    if not _MULTIPLYING.intersection(sys.argv[1:3]):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # starting threads takes time
    console.prepare_streams()
    gc.set_threshold(100_000, 50, 50)  # a vocabulary in JSON is a million containers, none of them garbage
    code = run(sys.argv[1:])
    with suppress(OSError):  # whoever read our output may be gone
        sys.stdout.flush()
        sys.stderr.flush()
    # The system takes memory back at once; taking a large vocabulary apart first costs a quarter second.
    os._exit(code)
