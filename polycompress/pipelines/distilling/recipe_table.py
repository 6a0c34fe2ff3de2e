"""Fields of a recipe, read one by one; what is wrong becomes a fault with its line."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from polycompress.errors import InputError
from polycompress.evaluation.toml_tables import Table

Found = TypeVar("Found")
_SHOWN: Final = 60
Where = tuple[str | int, ...]
"""Of a value: names of fields, and places in lists from 0."""


class Located(Table):
    """A table whose faults begin with the line that they are in; a field that is null is as one that is not there."""

    def __init__(
        self,
        values: Mapping[str, Any],
        faults: list[str],
        lines: Mapping[Where, str],
        path: Where = (),
        prefix: str = "",
    ) -> None:
        super().__init__({name: value for name, value in values.items() if value is not None}, faults, prefix)
        self._lines, self._path = lines, path

    def fault(self, message: str) -> None:
        """Add a fault of this table, or of the field that the message begins with."""
        parts = tuple(re.split(r"[\s:]", message, maxsplit=1)[0].split("."))
        place = next(
            (
                self._lines[self._path + parts[:length]]
                for length in range(len(parts), -1, -1)
                if self._path + parts[:length] in self._lines
            ),
            "line 1",
        )
        self.faults.append(f"{place}: {self.prefix}{message.removesuffix('.')}")

    def table(self, name: str) -> Located | None:
        """A table below this one, or None where it is not there."""
        found = super().table(name)
        return None if found is None else self._below(self._values[name], (name,), name)

    def tables(self, name: str) -> list[Located]:  # type: ignore[override]  # what is below is located too
        """A list of tables, which must be there; an entry that is none is a fault, and left out."""
        value = self.value(name)
        if not isinstance(value, list):
            super().tables(name)
            return []
        found = []
        for place, each in enumerate(value):
            if isinstance(each, dict):
                found.append(self._below(each, (name, place), f"{name}[{place + 1}]"))
            else:
                entry = (*self._path, name, place)
                of_entry = Located({}, self.faults, self._lines, entry, f"{self.prefix}{name}[{place + 1}] ")
                of_entry.fault(f"is {repr(each)[:_SHOWN]}: give fields, such as name and do")
        return found

    def value(self, name: str) -> Any:
        """Whatever stands there; None where nothing does."""
        self.allow(name)
        return self._values.get(name)

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        return int(self._take(name, default, lambda value: type(value) is int, "a whole number", default))

    def is_on(self, name: str, default: bool) -> bool:
        """True or false."""
        return bool(
            self._take(name, default, lambda value: isinstance(value, bool), "true or false", default)
        )

    def tried(self, name: str, find: Callable[[], Found]) -> Found | None:
        """What is found, or None and a fault of a field."""
        try:
            return find()
        except InputError as error:
            message = str(error)
            self.fault(message if message.startswith(f"{name} ") else f"{name}: {message}")
            return None

    def parsed(
        self,
        name: str,
        parse: Callable[[Sequence[str]], tuple[Found, ...]],
        wanted: str = "text or a list of texts",
    ) -> tuple[Found, ...]:
        """What a list of texts stands for, taken together; each that is wrong is a fault of the field.

        Args:
            name: The field.
            parse: Of some of the texts.
            wanted: What a fault asks for, where there are no texts.
        """
        right = [
            spec
            for spec in self.texts(name, wanted=wanted)
            if self.tried(name, functools.partial(parse, [spec])) is not None
        ]
        return parse(right) if right else ()

    def _below(self, values: Any, more: Where, name: str) -> Located:
        values = values if isinstance(values, dict) else {}
        return Located(values, self.faults, self._lines, self._path + more, f"{self.prefix}{name}.")
