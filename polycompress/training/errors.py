"""What can end a training run, each with what was saved and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from polycompress.errors import InputError, PolycompressError

SHOWN_TEXTS: Final = 8


class ConfigError(InputError):
    """A configuration is wrong; every fault is in it, not the first alone."""

    def __init__(self, faults: Sequence[str], subject: str = "The configuration") -> None:
        """Join the faults.

        Args:
            faults: One each, beginning with the field's name.
            subject: Whose they are.
        """
        self.faults = tuple(faults)
        self.subject = subject
        places = "one place" if len(faults) == 1 else f"{len(faults)} places"
        super().__init__(f"{subject} is wrong in {places}:\n" + "\n".join(f"  {fault}" for fault in faults))


class SnapshotMismatchError(InputError):
    """A snapshot belongs to another model, corpus or configuration."""


class NonFiniteLossError(PolycompressError):
    """The loss, or its gradient, is not a number or infinite; the weights were left as before the step."""


class OutOfMemoryError(PolycompressError):
    """A batch does not fit, in halves neither."""


class StoppedError(PolycompressError):
    """A signal ended the run after its state was saved (exit code 143 for SIGTERM, 130 for SIGINT)."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum


def listed(text_ids: Sequence[int], shown: int = SHOWN_TEXTS) -> str:
    """Ids of texts as a message lists them."""
    more = f" and {len(text_ids) - shown} more" if len(text_ids) > shown else ""
    return ", ".join(str(text_id) for text_id in text_ids[:shown]) + more
