"""A recipe once it is read: a source, languages, text, and stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.recipes.commands import Command, Value
from polycompress.pipelines.recipes.kinds import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A model that feeds a stage."""

    name: str
    """Of an earlier stage; else a model as a command takes it."""
    is_stage: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One command, checked as far as that can be done without its models."""

    number: int
    """From 1."""
    name: str
    command: Command
    kind: Kind
    sources: tuple[Source, ...]
    """Its arguments; of a report, the stages before it, or one that made a run."""
    models: Mapping[str, Source]
    """Options that name a model."""
    options: Mapping[str, Value]
    """The others."""
    names_model: bool
    """Whether the file names the model or models that it takes."""
    table: Located
    """Its place in the file, for further faults."""

    @property
    def folder(self) -> str:
        """What its output is called."""
        return f"{self.number}-{self.name}"

    @property
    def pictures(self) -> Mapping[str, str]:
        """Options that name pictures of its output, and their file names."""
        return {name: str(self.options[name]) for name in self.kind.pictures if name in self.options}

    @property
    def has_output(self) -> bool:
        """Whether it leaves more than a record."""
        return self.kind.leaves != "nothing" or bool(self.pictures)

    @property
    def is_of_run(self) -> bool:
        """Whether it reports one stage's training, not the run of the recipe."""
        return self.kind.takes == "results" and self.names_model

    @property
    def inputs(self) -> tuple[Source, ...]:
        """All models and stages that feed it."""
        return (*self.sources, *self.models.values())

    def settled(self) -> dict[str, Any]:
        """As a recipe's file has it."""
        options: dict[str, Any] = {name: source.name for name, source in self.models.items()}
        options |= {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.options.items()
        }
        found: dict[str, Any] = {"name": self.name, "do": self.command.name}
        names = [source.name for source in self.sources]
        if self.kind.takes in ("models", "pair"):
            found["models"] = names
        elif self.kind.takes == "model" or self.is_of_run:
            found["model"] = names[0]
        return {**found, "options": options}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A file, read and checked."""

    name: str
    model: str
    languages: tuple[str, ...]
    """Codes of the registry."""
    corpora: tuple[str, ...]
    """``LANG=PATTERN``, the pattern absolute."""
    data: Path | None
    """A data directory of tasks; None: the hub."""
    stages: tuple[Stage, ...]

    def settled(self) -> dict[str, Any]:
        """Everything that was decided, as a recipe's file has it."""
        found: dict[str, Any] = {"name": self.name, "model": self.model}
        if self.languages:
            found["languages"] = list(self.languages)
        if self.corpora:
            found["corpora"] = list(self.corpora)
        if self.data is not None:
            found["data"] = str(self.data)
        return {**found, "stages": [stage.settled() for stage in self.stages]}
