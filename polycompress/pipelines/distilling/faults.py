"""What is wrong with a request, found one thing after another and told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from polycompress.errors import InputError
from polycompress.training.errors import ConfigError

Found = TypeVar("Found")


class Gathered:
    """Faults of a request: what cannot be found is noted, and the rest looked at all the same."""

    def __init__(self) -> None:
        """Begin without any."""
        self._errors: list[InputError] = []

    def tried(self, find: Callable[[], Found]) -> Found | None:
        """What is found, or None and a fault.

        Args:
            find: Raises ``InputError`` where it cannot.
        """
        try:
            return find()
        except InputError as error:
            self._errors.append(error)
        return None

    def report(self, subject: str) -> None:
        """Raise what is wrong, each fault once.

        Args:
            subject: Of a message with several faults.

        Raises:
            InputError: The only one, as it was raised; or a ``ConfigError`` with all of them.
        """
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            faults = [fault for error in self._errors for fault in _faults_of(error)]
            raise ConfigError(list(dict.fromkeys(faults)), subject)


def _faults_of(error: InputError) -> tuple[str, ...]:
    if isinstance(error, ConfigError):
        return error.faults
    return (str(error).removesuffix(".").replace("\n", "\n  "),)
