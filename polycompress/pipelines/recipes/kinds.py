"""What a stage can do: the commands that a recipe may name, and what each takes from the recipe and leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

ALL, FIRST, SECOND, OTHERS = "all", "first", "second", "others"
"""Which of the recipe's languages."""

RESERVED: Final = ("out", "overwrite", "resume", "dry-run", "json")
"""Options that are the run's to give."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A command as a stage."""

    leaves: Literal["model", "run", "results", "file", "page", "nothing"]
    """``--out`` is a model; a run with the model in ``final/``, which can be resumed; a directory of results; a file of
    them; a page; or there is none."""
    takes: Literal["model", "models", "pair", "results"] = "model"
    """One model; several; a source and what was made from it; or what all earlier stages left."""
    languages: Mapping[str, str] = field(default_factory=dict)
    """Options that default to the recipe's languages: which of them."""
    reads_text: bool = False
    """Whether ``--corpus`` defaults to the recipe's corpora, of the stage's languages."""
    compares_text: bool = False
    """Whether ``--text`` defaults to the recipe's corpora where one of the languages has no word frequencies."""
    reads_recipe: bool = False
    """Whether its option ``config`` is a recipe of distillation, which names further files."""
    pictures: tuple[str, ...] = ()
    """Options that name a picture; of a stage, a file of its output."""
    refused: tuple[str, ...] = ()
    """Options that make another command of it."""

    @property
    def makes_model(self) -> bool:
        """Whether later stages can begin with what it leaves."""
        return self.leaves in ("model", "run")

    @property
    def computes(self) -> bool:
        """Whether it runs models, not only moves their rows."""
        return self.leaves in ("run", "results", "file")

    @property
    def takes_runs(self) -> bool:
        """Whether it takes a run as a whole, all seeds of it."""
        return self.takes in ("models", "results") or self.leaves == "results"


KINDS: Final[Mapping[str, Kind]] = {
    "trim": Kind(leaves="model", languages={"langs": ALL}, reads_text=True, refused=("each",)),
    "bistil general": Kind(leaves="run", languages={"source": FIRST, "target": SECOND}, reads_text=True),
    "distil": Kind(
        leaves="run", languages={"source": FIRST, "target": OTHERS}, reads_text=True, reads_recipe=True
    ),
    "bistil task": Kind(leaves="run", languages={"train-langs": FIRST}),
    "mlm": Kind(leaves="run", reads_text=True),
    "finetune": Kind(leaves="run", languages={"train-langs": FIRST}),
    "ofa": Kind(leaves="model"),
    "factorise": Kind(leaves="model"),
    "moe upcycle": Kind(leaves="model", languages={"langs": ALL}),
    "moe train": Kind(leaves="run", reads_text=True),
    "moe extract": Kind(leaves="model"),
    "moe routes": Kind(leaves="nothing", reads_text=True, refused=("against", "plot")),
    "export": Kind(leaves="model", languages={"langs": ALL}),
    "eval": Kind(leaves="results", languages={"langs": ALL}, refused=("suite", "compare", "seeds")),
    "bench": Kind(leaves="file", takes="models"),
    "inspect": Kind(leaves="nothing", languages={"langs": ALL}, pictures=("plot", "plot-overlap")),
    "verify": Kind(leaves="nothing", takes="pair", languages={"langs": ALL}, compares_text=True),
    "report": Kind(leaves="page", takes="results", refused=("open", "before")),
}
"""By the command's name as it is typed."""
