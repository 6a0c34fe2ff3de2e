"""Paths as a recipe writes them: from its own directory, and inside it, unless they are absolute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polycompress.corpora.hub_datasets import SCHEME
from polycompress.errors import InputError
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.recipe_table import Where

DATA: Final = "{data}"


def split_text(text: str) -> tuple[str, str]:
    """Language, or nothing, and pattern of ``[LANG=]PATTERN``."""
    name, equals, pattern = text.partition("=")
    return (name, pattern) if equals and os.sep not in name else ("", text)


@dataclass(frozen=True, slots=True)
class Paths:
    """How the paths of one file are read."""

    root: Path
    """Where relative ones begin, absolute."""
    lines: Mapping[Where, str]
    """Of the file; what ``--set`` gave is written from the working directory, as on a command line."""
    data: Path | None = None
    """What ``{data}`` at the beginning stands for."""

    def settle(self, text: str, where: Where, *, anywhere: bool = False) -> str:
        """A path, absolute.

        Args:
            text: As it is written; glob characters are left as they are.
            where: Its place in the file.
            anywhere: Whether ``..`` may lead out of the recipe's directory.

        Raises:
            InputError: It is no path, or a relative one that leads out.
        """
        if text.startswith(f"{DATA}/"):
            return self._in_data(text.removeprefix(f"{DATA}/"))
        path = user_path(text)
        if path.is_absolute():
            return os.path.normpath(path)
        if self.is_set(where):
            return os.path.normpath(Path.cwd() / path)
        found = Path(os.path.normpath(self.root / path))
        if not anywhere and not found.is_relative_to(self.root):
            raise InputError(
                f"{text!r} leads out of the recipe's directory: write the whole path, or give it with --set"
            )
        return str(found)

    def settle_text(self, text: str, where: Where) -> str:
        """``[LANG=]PATTERN`` with the pattern absolute; data sets of the hub stay as they are.

        Raises:
            InputError: As ``settle``.
        """
        _, pattern = split_text(text)
        if not pattern or pattern.startswith(SCHEME):
            return text
        return text.removesuffix(pattern) + self.settle(pattern, where)

    def settle_model(self, text: str, where: Where) -> str:
        """A model: a path, absolute, where something is there or where it is written like one; else as it is.

        Raises:
            InputError: As ``settle``.
        """
        if text.startswith((".", "/", "~", f"{DATA}/")):
            return self.settle(text, where)
        return self.settle_if_there(text, where)

    def settle_if_there(self, text: str, where: Where) -> str:
        """A path, absolute, where something is there; else the text, which then is a name.

        Raises:
            InputError: As ``settle``.
        """
        root = Path.cwd() if self.is_set(where) else self.root
        return self.settle(text, where) if (root / user_path(text)).exists() else text

    def _in_data(self, text: str) -> str:
        """A path in the data directory."""
        if self.data is None:
            raise InputError(f"{DATA}/{text}: there is no data directory: give one, such as --set data=DIR")
        found = Path(os.path.normpath(self.data / text))
        if not found.is_relative_to(self.data):
            raise InputError(f"'{DATA}/{text}' leads out of the data directory: write the whole path")
        return str(found)

    def is_set(self, where: Where) -> bool:
        """Whether ``--set`` gave the value at a place."""
        places = (self.lines.get(where[:length]) for length in range(len(where), 0, -1))
        return next((place for place in places if place is not None), "").startswith("--set")
