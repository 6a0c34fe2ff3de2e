"""Read a TOML file field by field, and report everything that is wrong with it at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError

MAX_BYTES: Final = 2**17
"""Of a file."""
MAX_DOTS: Final = 500
"""In a line: of a key in n parts ``tomllib`` keeps every beginning, which takes time and memory by n squared."""
_SHOWN: Final = 60


class Table:
    """One table of a file: fields are taken from it, and faults collected."""

    def __init__(self, values: Mapping[str, Any], faults: list[str], prefix: str = "") -> None:
        self._values = values
        self._known: list[str] = []
        self.faults = faults
        self.prefix = prefix

    def fault(self, message: str) -> None:
        """Add a fault of this table."""
        self.faults.append(f"{self.prefix}{message}")

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        return name in self._values

    def names(self) -> tuple[str, ...]:
        """The fields that are there."""
        return tuple(self._values)

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not empty; without a default it must be there."""
        value: str = self._take(
            name, default, lambda value: isinstance(value, str) and bool(value.strip()), "text", ""
        )
        return value

    def optional_text(self, name: str) -> str | None:
        """A text that is not empty, or None where it is not there."""
        self.allow(name)
        return self.text(name) if self.has(name) else None

    def number(self, name: str) -> float | None:
        """A number, or None where it is not there."""
        self.allow(name)
        if not self.has(name):
            return None
        return float(self._take(name, None, lambda value: type(value) in (int, float), "a number", 0))

    def count(self, name: str) -> int | None:
        """A whole number of at least 1, or None where it is not there."""
        self.allow(name)
        if not self.has(name):
            return None
        wanted = "a whole number of at least 1"
        return int(self._take(name, None, lambda value: type(value) is int and value >= 1, wanted, 1))

    def truth(self, name: str) -> bool:
        """True or false; it must be there."""
        return bool(self._take(name, None, lambda value: isinstance(value, bool), "true or false", False))

    def is_true(self, name: str) -> bool:
        """Whether a field is there and is ``true``."""
        self.allow(name)
        return self._values.get(name) is True

    def allow(self, *names: str) -> None:
        """Fields that may be there, though nothing has asked for them."""
        self._known += [name for name in names if name not in self._known]

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """One of some words, which must be there; None where it is not, or is another."""
        wanted = f"one of {', '.join(choices)}"
        value: str | None = self._take(name, None, lambda value: isinstance(value, str), wanted, None)
        if value is None or value in choices:
            return value
        self.fault(f"{name} is {value[:_SHOWN]!r}: give {wanted}.{near(value, choices)}")
        return None

    def texts(
        self, name: str, default: Sequence[str] | None = None, wanted: str = "text or a list of texts"
    ) -> tuple[str, ...]:
        """A list of texts, or one text; ``wanted`` is what a fault asks for."""
        value = self._take(name, default, _is_texts, wanted, ())
        return (value,) if isinstance(value, str) else tuple(value)

    def mapping(self, name: str) -> dict[str, str]:
        """A table of texts; empty where it is not there."""
        value = self._take(
            name,
            {},
            lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
            "a table of texts",
            {},
        )
        return dict(value)

    def table(self, name: str) -> Table | None:
        """A table below this one, or None where it is not there."""
        self.allow(name)
        if not self.has(name):
            return None
        value = self._take(name, None, lambda value: isinstance(value, dict), "a table", {})
        return Table(value, self.faults, f"{self.prefix}{name}.")

    def tables(self, name: str) -> list[Table]:
        """A list of tables, which must be there."""
        value = self._take(
            name, None, lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
            "a list of tables", [],
        )  # fmt: skip
        return [
            Table(each, self.faults, f"{self.prefix}{name}[{place}].") for place, each in enumerate(value)
        ]

    def finish(self) -> None:
        """Report fields that nothing asked for."""
        for name in self._values:
            if name not in self._known:
                known = ", ".join(self._known)
                self.fault(f"{name[:_SHOWN]} is no field.{near(name, self._known) or f' There are {known}.'}")

    def _take(self, name: str, default: Any, fits: Callable[[Any], bool], wanted: str, instead: Any) -> Any:
        """A value if it fits, the default if there is none, else a fault and something to go on with."""
        self.allow(name)
        if name not in self._values:
            if default is None:
                self.fault(f"{name} is missing: give {wanted}.")
                return instead
            return default
        value = self._values[name]
        if not fits(value):
            self.fault(f"{name} is {repr(value)[:_SHOWN]}: give {wanted}.")
            return instead
        return value


def read_table(path: Path) -> Table:
    """The file as a table.

    Raises:
        InputError: It is missing, too large, or no TOML.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check its name.") from error
    if content is None:
        raise InputError(f"{path}: more than {MAX_BYTES} bytes; such a file is a page long.")
    try:
        return Table(parse_toml(content), [])
    except ValueError as error:
        raise InputError(f"{path}: not TOML ({error}). Mend it.") from error


def parse_toml(content: bytes) -> dict[str, Any]:
    """What a file of at most ``MAX_BYTES`` says, in bounded time and memory.

    Raises:
        ValueError: It is no TOML, or nested too deeply.
    """
    text = content.decode("utf-8-sig")
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > MAX_DOTS:
            raise ValueError(f"more than {MAX_DOTS} dots in line {number}: write it on several lines")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def report(path: Path, faults: Sequence[str]) -> None:
    """Raise an ``InputError`` with all faults of a file, if there are any."""
    once = dict.fromkeys(faults)
    if once:
        many = f"{len(once)} faults" if len(once) > 1 else "a fault"
        raise InputError(f"{path}: {many}:" + "".join(f"\n  {fault}" for fault in once))


def near(value: str, choices: Iterable[str]) -> str:
    """A hint at what was meant, or nothing."""
    found = difflib.get_close_matches(value[:_SHOWN], list(choices), n=1)
    return f" Did you mean {found[0]}?" if found else ""


def _is_texts(value: Any) -> bool:
    values = [value] if isinstance(value, str) else value
    return (
        isinstance(values, list) and bool(values) and all(isinstance(each, str) and each for each in values)
    )
