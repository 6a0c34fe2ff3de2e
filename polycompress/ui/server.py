"""The page on loopback: a socket of our own, one application, nothing else."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from polycompress.errors import InputError, MissingExtraError
from polycompress.ui.guard import HOST, LoopbackOnly
from polycompress.ui.models import find_choices
from polycompress.ui.runs import find_entries

PORT: Final = 8420


def serve(
    runs: Path | None,
    named: Sequence[str] = (),
    *,
    port: int = PORT,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        runs: The directory of runs; None: there is none, only models that were named.
        named: Models besides those found there.
        port: 0: any that is free.
        ready: Called with the page's address before the first request is answered.

    Raises:
        InputError: The directory or a model is missing, or the port is taken.
        MissingExtraError: The extra `ui` is not installed.
        KeyboardInterrupt: It was interrupted.
    """
    if runs is not None:
        find_entries(runs)  # says what is wrong with it
    choices = find_choices((), named)
    with tempfile.TemporaryDirectory(prefix="polycompress-ui-") as folder, _bound(port) as listening:
        # The library keeps its state in the working directory or in Redis unless told otherwise; we use none of it.
        os.environ["NICEGUI_STORAGE_PATH"] = folder
        os.environ.pop("NICEGUI_REDIS_URL", None)
        try:
            import uvicorn

            from polycompress.ui.page import make_application
        except ModuleNotFoundError as error:
            raise MissingExtraError("polycompress ui", "ui") from error
        at = listening.getsockname()[1]
        application = LoopbackOnly(make_application(runs, choices), at)
        settings = uvicorn.Config(
            application,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            ws_max_size=1 << 20,
        )
        if ready is not None:
            ready(f"http://{HOST}:{at}/")
        uvicorn.Server(settings).run(sockets=[listening])
        raise KeyboardInterrupt  # it raises that itself, but not where a shell left interrupts ignored


def _bound(port: int) -> socket.socket:
    """A socket that listens on loopback alone."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen()  # a browser that comes early waits
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--port {port}: {HOST}:{port} cannot be served ({reason}). Give another, or 0 for any that is free."
        ) from error
    return listening
