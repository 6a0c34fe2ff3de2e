"""Recipes that come with the program: those of whole runs, beside those of distillation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from polycompress.errors import InputError
from polycompress.resources import data_path

_OF_RUNS: Final = re.compile(r"^model:", re.MULTILINE)
"""A recipe of distillation has a teacher instead."""


def find_recipe(name: str) -> Path:
    """The file of a recipe: a path, or the name of one that comes with the program.

    Raises:
        InputError: There is no such file.
    """
    if Path(name).exists():
        return Path(name)
    own = own_recipes()
    if name not in own:
        raise InputError(
            f"{name}: cannot be read: there is no such file. Check its name, or give a recipe that comes with the "
            f"program: {', '.join(own)}."
        )
    return own[name]


def own_recipes() -> dict[str, Path]:
    """Those that come with the program, by name."""
    return {
        path.stem: path
        for path in sorted((data_path("eval") / "recipes").glob("*.yaml"))
        if _OF_RUNS.search(path.read_text(encoding="utf-8"))
    }
