"""Data sets in the layout of the Hugging Face hub, at a pinned revision or in a local directory, streamed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError

SCHEME: Final = "hf://"
_LOCAL: Final = ("/", "./", "../", "~")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One split of a data set."""

    name: str
    """``owner/name`` on the hub, or a local directory."""
    revision: str | None = None
    """Commit on the hub, 40 hexadecimal digits; None for a directory."""
    config: str | None = None
    """Its configuration (often a language); None where there is one only."""
    split: str | None = None
    """None for the only one, else for ``train``."""

    @property
    def is_local(self) -> bool:
        """Whether it is a directory here."""
        return self.name.startswith(_LOCAL)

    @property
    def directory(self) -> Path:
        """The local directory."""
        return Path(self.name).expanduser()

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for the record."""
        return {
            "dataset": self.name,
            "revision": self.revision,
            "config": self.config,
            "split": self.split,
        }

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        config = f":{self.config}" if self.config else ""
        return f"{SCHEME}{self.name}{revision}{config}" + (f"#{self.split}" if self.split else "")


def parse_dataset(text: str, option: str = "--corpus") -> DatasetSpec:
    """Read ``hf://owner/name@revision[:config][#split]`` or ``hf://./directory[:config][#split]``.

    Nothing is looked up; whether the revision is a commit is checked where the data set is opened.

    Args:
        text: As written.
        option: What the user wrote it after, for messages.

    Raises:
        InputError: It is neither.
    """
    rest, _, split = text.removeprefix(SCHEME).partition("#")
    revision = None
    if rest.startswith(_LOCAL):
        name, _, config = rest.partition(":")
        if not Path(name).expanduser().is_dir():
            raise InputError(f"{option} {text!r}: there is no directory {name}. Check the name.")
    else:
        rest, _, config = rest.partition(":")
        name, _, revision = rest.partition("@")
        if not _NAME.fullmatch(name) or ".." in name:
            raise InputError(
                f"{option} {text!r}: {name!r} is neither owner/name of a data set nor a directory. Write "
                f"{SCHEME}owner/name@revision, {SCHEME}./directory or {SCHEME}/directory."
            )
        revision = revision or None
    return DatasetSpec(name, revision, config or None, split or None)
