"""How files become texts: the column, the cleaning, the share and the language that are asked for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Final

from polycompress.corpora.cleaning import CLEANING
from polycompress.corpora.identifying import LanguageFilter
from polycompress.errors import InputError

DEFAULT_FIELD: Final = "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How files become texts; the same reading of the same files gives the same texts everywhere."""

    field: str | None = None
    """Column of jsonl, csv, tsv, parquet and datasets; None is ``text``. Other files have no columns."""
    cleaning: tuple[str, ...] = ()
    """Names of ``CLEANING``. Empty lines, byte order marks at the start and carriage returns before line feeds
    are left out in any case."""
    sample: float = 1.0
    """Share of the texts, chosen by their hashes; above 0, at most 1."""
    seed: int = 0
    """Of the sample; 0 to 2 ** 64 - 1."""
    identify: LanguageFilter | None = None
    """Only texts in which a fastText model sees the language."""

    def __post_init__(self) -> None:
        """Check the values and bring the names of rules into their order.

        Raises:
            InputError: One is wrong.
        """
        if self.field == "":
            raise InputError("The field's name is empty. Give the column that holds the text.")
        if not 0 < self.sample <= 1:
            raise InputError(f"A sample of {self.sample!r} is no share: give more than 0 and at most 1.")
        if not 0 <= self.seed < 2**64:
            raise InputError(f"The seed {self.seed!r} is not between 0 and 2 ** 64 - 1.")
        for name in self.cleaning:
            if name not in CLEANING:
                near = difflib.get_close_matches(str(name), CLEANING, n=1)
                guess = f" Did you mean {near[0]}?" if near else ""
                raise InputError(
                    f"Unknown cleaning {name!r}.{guess} There are {', '.join(CLEANING)}; empty lines always go."
                )
        object.__setattr__(self, "cleaning", tuple(name for name in CLEANING if name in self.cleaning))

    @property
    def column(self) -> str:
        """The field, or the one that is meant where none was named."""
        return self.field or DEFAULT_FIELD

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for the record."""
        return {
            "field": self.field,
            "cleaning": ["empty", *self.cleaning],
            "sample": self.sample,
            "seed": self.seed,
            "identify": self.identify.as_dict() if self.identify is not None else None,
        }


def parse_cleaning(names: str) -> tuple[str, ...]:
    """The rules of a comma-separated list; ``empty``, which is always done, may be among them.

    Raises:
        InputError: One is unknown.
    """
    chosen = tuple(name for part in names.split(",") if (name := part.strip().lower()) not in ("", "empty"))
    return Reading(cleaning=chosen).cleaning
