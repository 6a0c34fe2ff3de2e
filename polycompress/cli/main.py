"""The program: one subcommand per module of this room."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

import polycompress
from polycompress.cli import console, logs
from polycompress.cli.commands import Program
from polycompress.cli.everywhere import LogFile, Quiet, Verbose
from polycompress.cli.settings import EPILOG
from polycompress.errors import PolycompressError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED: Final = 128 + signal.SIGINT
UNREAD: Final = 128 + signal.SIGPIPE
_MULTIPLYING: Final = frozenset({"factorise", "ofa", "vectors"})
"""Commands that multiply large matrices with numpy."""
_AGAIN_SECONDS: Final = 0.02

app = typer.Typer(
    cls=Program,
    name="polycompress",
    help="Make multilingual language models small: for one language, for two, or for a family.",
    epilog=EPILOG,
    no_args_is_help=True,
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
    verbose: Verbose = False,
    quiet: Quiet = False,
    log_file: LogFile = None,
) -> None:
    """What is asked of the program itself."""


class _Terminated(SystemExit):
    """SIGTERM, as an exception so that nothing half-written is left."""


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated(128 + signum)


def _send_again(dropped: UnraisableHookArgs) -> None:
    """Send a signal once more whose exception struck in a destructor, where Python drops it."""
    for error, number in ((KeyboardInterrupt, signal.SIGINT), (_Terminated, signal.SIGTERM)):
        if issubclass(dropped.exc_type, error):
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
            return
    sys.__unraisablehook__(dropped)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 2 the request or input is wrong, 1 it failed otherwise, 130 / 143 after a signal, 141 if
        nobody reads stdout any more.
    """
    logs.begin()
    code = _run(arguments)
    logs.record(logging.INFO, f"ended with exit code {code}")
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), prog_name="polycompress", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED  # typer itself returns this for most interrupts
    except PolycompressError as error:
        console.print_error("\n".join((str(error), *getattr(error, "__notes__", ()))))
        return error.exit_code
    except console.UnreadError:
        return _unread()
    except SystemExit as error:
        # So end help and whatever else is not ours to print where nobody reads it.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        return _unread()
    except MemoryError:
        console.print_error("out of memory; nothing half-written was left")
        return 1
    except OSError as error:
        console.print_error(f"{error}. Nothing half-written was left")
        return 1
    except Exception as error:
        # A wrong option or argument: typer carries its own copy of click, whose base class has no public name.
        if not callable(show := getattr(error, "show", None)):
            logs.record(logging.CRITICAL, "a fault of the program", trace=True)
            raise
        with suppress(OSError, SystemExit):  # nobody reads stderr, or its disk is full
            show()
        logs.record(logging.ERROR, getattr(error, "message", str(error)))
        return int(getattr(error, "exit_code", 2))
    if code == INTERRUPTED:
        console.print_error("interrupted; nothing half-written was left")
    return code if isinstance(code, int) else 0


def _unread() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what reads our output is gone
    return UNREAD


def main() -> None:
    """Entry point of the console script."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _send_again
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
