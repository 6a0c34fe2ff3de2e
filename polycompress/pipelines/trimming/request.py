"""What a trim can be asked for: its settings, checked, and the same as a record and as a command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.vocab.selection import Limit

DEFAULT_COVERAGE: Final = 0.9999
"""Chosen from the measured frontier, ``eval/results/trim-quality.json``."""
MAX_MULTIPLE: Final = 1 << 16
"""Of rows that tables may be padded to; hardware asks for 8 to 128."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrimSettings:
    """What a trim can be told besides the model, its languages and their text."""

    limit: Limit = dataclasses.field(default_factory=lambda: Limit(by="coverage", value=DEFAULT_COVERAGE))
    keep: str | os.PathLike[str] | None = None
    """A file of tokens to keep whatever their use."""
    keep_regex: tuple[str, ...] = ()
    frequencies: bool = True
    pad_to_multiple_of: int = 1
    full: bool = False
    overwrite: bool = False
    link: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.pad_to_multiple_of <= MAX_MULTIPLE:
            raise InputError(
                f"--pad-to-multiple-of is a number of rows from 1 to {MAX_MULTIPLE}, such as 64; "
                f"got {self.pad_to_multiple_of}"
            )

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, for the manifest."""
        return {
            self.limit.by: self.limit.value,
            "keep": None if self.keep is None else str(self.keep),
            "keep_regex": list(self.keep_regex),
            "frequencies": self.frequencies,
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "full": self.full,
        }


def choose_limit(
    coverage: float | None, size: int | None, min_count: int | None, min_share: float | None = None
) -> Limit:
    """The one limit that was asked for, checked.

    Raises:
        InputError: More than one was given, or its value makes no sense.
    """
    given = {
        name: value
        for name, value in (
            ("coverage", coverage),
            ("size", size),
            ("min_count", min_count),
            ("min_share", min_share),
        )
        if value is not None
    }
    if len(given) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{flags} cannot be combined: give one of them")
    if coverage is not None and not 0 < coverage <= 1:
        raise InputError(f"--coverage is a share between 0 and 1, such as 0.9999; got {coverage}")
    if size is not None and size < 1:
        raise InputError(f"--size is a number of tokens, such as 40000; got {size}")
    if min_count is not None and min_count < 1:
        raise InputError(f"--min-count is a number of occurrences, such as 2; got {min_count}")
    if min_share is not None and not 0 < min_share < 1:
        raise InputError(
            f"--min-share is a relative frequency between 0 and 1, such as 1e-6; got {min_share}"
        )
    if size is not None:
        return Limit(by="size", value=size)
    if min_count is not None:
        return Limit(by="min_count", value=min_count)
    if min_share is not None:
        return Limit(by="min_share", value=min_share)
    return Limit(by="coverage", value=DEFAULT_COVERAGE if coverage is None else coverage)


def request_config(
    languages: Sequence[Language],
    corpus: Sequence[str],
    counts: Sequence[str | os.PathLike[str]],
    settings: TrimSettings,
    field: str | None = None,
) -> dict[str, Any]:
    """The whole request, for the manifest."""
    return {
        "langs": [language.code for language in languages],
        "corpus": list(corpus),
        "field": field,
        "counts": [os.fspath(path) for path in counts],
        **settings.as_dict(),
    }


def command_line(
    model: str | os.PathLike[str], out: Path | None, config: Mapping[str, Any], limit: Limit
) -> list[str]:
    """The command that does what was asked for from Python."""
    words = ["polycompress", "trim", str(model), "--langs", ",".join(config["langs"])]
    for entry in config["corpus"]:
        words += ["--corpus", entry]
    if config["field"]:
        words += ["--field", config["field"]]
    for path in config["counts"]:
        words += ["--counts", path]
    value = f"{limit.value:g}" if limit.by in ("coverage", "min_share") else str(int(limit.value))
    words += [f"--{limit.by.replace('_', '-')}", value]
    if config["keep"]:
        words += ["--keep", config["keep"]]
    for pattern in config["keep_regex"]:
        words += ["--keep-regex", pattern]
    if not config["frequencies"]:
        words += ["--no-frequencies"]
    if config["pad_to_multiple_of"] > 1:
        words += ["--pad-to-multiple-of", str(config["pad_to_multiple_of"])]
    if config["full"]:
        words += ["--full"]
    return [*words, "--dry-run"] if out is None else [*words, "--out", str(out)]
