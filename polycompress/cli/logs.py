"""What is logged, and where: warnings on stderr, more or less of it on request, everything in a file."""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from polycompress.errors import InputError

_LOGGER: Final = logging.getLogger("polycompress")
_UNSHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    """Untrusted text for a terminal: control characters but line feeds, and what is no character, as escapes."""
    return _UNSHOWN.sub(lambda match: ascii(match[0])[1:-1], text)


def begin() -> None:
    """Log warnings to stderr, and nothing to a file."""
    for handler in _LOGGER.handlers:
        handler.close()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleFormatter("%(levelname)s: %(message)s"))
    _LOGGER.handlers[:] = [handler]
    _LOGGER.propagate = False
    show_from(logging.WARNING)


def show_from(level: int) -> None:
    """Show what is logged from a level on stderr; a file goes on getting everything."""
    for handler in _LOGGER.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(level)
    _LOGGER.setLevel(logging.DEBUG if _files() else level)


def is_quiet() -> bool:
    """Whether not even warnings are shown."""
    levels = [handler.level for handler in _LOGGER.handlers if not isinstance(handler, logging.FileHandler)]
    return bool(levels) and min(levels) > logging.WARNING


def write_to(path: Path) -> None:
    """Log everything to the end of a file too, a record a line with its time, process and place.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(
            f"--log-file {path}: cannot be written ({error.strerror}). Name a file in a directory that is there."
        ) from error
    handler.setFormatter(
        _VisibleFormatter(
            "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"
        )
    )
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG)


def record(level: int, message: str, *, trace: bool = False) -> None:
    """Log to the file alone, if there is one: what stderr gets in another form.

    Args:
        level: Of ``logging``.
        message: What is recorded.
        trace: Whether the exception that is being handled is recorded with it.
    """
    entry = _LOGGER.makeRecord(
        _LOGGER.name, level, __file__, 0, message, (), sys.exc_info() if trace else None
    )  # fmt: skip
    for handler in _files():
        handler.handle(entry)


def _files() -> list[logging.Handler]:
    return [handler for handler in _LOGGER.handlers if isinstance(handler, logging.FileHandler)]


class _LogFile(logging.FileHandler):
    """A log that cannot be written any more is said once, and left: the work goes on."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        _LOGGER.removeHandler(self)
        with suppress(OSError):
            self.close()
        _LOGGER.warning("--log-file %s: cannot be written any more (%s)", self.baseFilename, error.strerror)


class _VisibleFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
