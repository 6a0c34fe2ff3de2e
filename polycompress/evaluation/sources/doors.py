"""What a task file says about its two doors, and what comes through both: rows with named values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from polycompress.evaluation.records import Kind, Split

Format = Literal["tsv", "conll", "squad"]
FORMATS: Final[tuple[Format, ...]] = ("tsv", "conll", "squad")
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
"""What pins a data set of the hub."""
SPLITS: Final[tuple[Split, ...]] = ("train", "dev", "test")

REQUIRED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "pair-classification": ("text", "second", "label"),
    "text-classification": ("text", "label"),
    "token-classification": ("words", "tags"),
    "question-answering": ("context", "question", "answers"),
    "retrieval": ("text",),
    "word-translation": ("word", "translation"),
}
"""The values without which a row of a kind is no example."""
OPTIONAL: Final[Mapping[Kind, tuple[str, ...]]] = {
    "pair-classification": ("key",),
    "text-classification": ("key",),
    "token-classification": ("key",),
    "question-answering": ("key",),
    "retrieval": ("key", "pivot"),
    "word-translation": (),
}
"""Those that it may have besides."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file or a data set."""

    place: str
    """For messages: ``FILE: line 5``."""
    values: Mapping[str, Any]
    """By the names in ``REQUIRED`` and ``OPTIONAL``; classes and tags as text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalDoor:
    """Files below a data directory."""

    format: Format
    files: Mapping[Split, tuple[str, ...]]
    """Templates below the data directory, such as ``nli/sick/test.{language}.tsv``; several are read one after the
    other, and a language has the split where it has all of them. A file may be compressed (``.gz`` and so on)."""
    columns: Mapping[str, str]
    """Of tsv: the column of each value. ``{language}`` stands for the code as the file's name spells it."""
    where: Mapping[Split, str]
    """Where one file holds all splits: what ``split_column`` says of each."""
    split_column: str | None
    rename: Mapping[str, str]
    """Classes or tags that are written otherwise: ``B-DATE`` = ``O``."""
    codes: Mapping[str, str]
    """Where a name's code, or code and subset, means another language than it says: ``sr_set`` = ``srp-Latn``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HubDoor:
    """Data sets of the Hugging Face hub."""

    dataset: str
    """``owner/name``; a directory in the hub's layout serves too."""
    revision: str | None
    """Commit, 40 hexadecimal digits; None: not known, then one must be given."""
    config: str | None
    """Template of the configuration's name, such as ``{language}``; None: there is one only."""
    configs: tuple[str, ...]
    """All configurations that belong to the task."""
    splits: Mapping[Split, tuple[str, ...]]
    """Splits of the data set that make up each of ours."""
    columns: Mapping[str, str]
    names: tuple[str, ...]
    """Classes or tags by number, where the data set holds numbers."""
    rename: Mapping[str, str]
    codes: Mapping[str, str]
    """As in the local door."""
    protocol: str | None
    """Where it is another than that of the local door."""
    train_from: str | None
