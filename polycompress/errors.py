"""Every error a person can cause or meet, with the exit code its command ends with.

A message says what is wrong, where (file, line, field, value) and what to do next.
"""

from __future__ import annotations


class PolycompressError(Exception):
    """It failed for a reason that is not the request's fault (exit code 1)."""

    exit_code: int = 1


class InputError(PolycompressError, ValueError):
    """The request or the input is wrong (exit code 2); nothing was written."""

    exit_code = 2


class MissingExtraError(InputError):
    """A feature needs a package that the default install leaves out."""

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{feature} needs packages that are not installed. "
            f"Install them with: pip install 'polycompress[{extra}]'"
        )


class StorageError(PolycompressError, OSError):
    """The disk or the file system refused (full disk, no permission); nothing was left behind."""


class CertificateError(PolycompressError):
    """The result does not behave as its source; no output was written."""
