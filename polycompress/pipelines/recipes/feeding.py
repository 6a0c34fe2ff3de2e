"""Which models feed a stage: those that it names, else the latest before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from polycompress.evaluation.toml_tables import near
from polycompress.pipelines.distilling.recipe_table import Located, Where
from polycompress.pipelines.recipes.kinds import Kind
from polycompress.pipelines.recipes.paths import Paths
from polycompress.pipelines.recipes.stages import Source, Stage

DEMO: Final = "demo"
MODEL: Final = "model"
"""What stages call the recipe's own model."""
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Feeding:
    """Finds the models that feed one stage."""

    part: Located
    where: Where
    """The stage's place in the file."""
    kind: Kind
    before: Sequence[Stage]
    names: Mapping[str, Stage | None]
    """All stages before, those with faults too."""
    later: AbstractSet[str]
    """What stages after this one are called."""
    paths: Paths

    def sources(self) -> tuple[Source, ...]:
        """Those that are the command's arguments."""
        one, many = self.part.value("model"), self.part.value("models")
        takes = self.kind.takes
        if takes in ("models", "pair"):
            if one is not None:
                self.part.fault("model is given, but this command takes several: give models")
                return ()
            return self._several() if many is not None else self._usual_several()
        if many is not None:
            self.part.fault("models is given, but this command takes one: give model")
        if one is not None:
            given = self.part.text("model")
            return (self.named(given, "model"),) if given else ()
        if takes == "results":
            return self._earlier()
        return (self._latest(),)

    def named(self, text: str, field: str, *place: int) -> Source:
        """What a name stands for: a stage before this one, the recipe's model, or another model."""
        if text == MODEL:
            return Source(name=MODEL, is_stage=False)
        if text not in self.names:
            found = self.part.tried(
                field, lambda: self.paths.settle_model(text, (*self.where, *field.split("."), *place))
            )
            if found == text and "/" not in text and text != DEMO:
                self.part.fault(f"{field} is {text[:_SHOWN]!r}: {self._why_none(text)}")
            return Source(name=found or text, is_stage=False)
        stage = self.names[text]
        if stage is not None and not stage.kind.makes_model:
            self.part.fault(f"{field} is {text!r}: that stage ({stage.command.name}) makes no model")
        elif stage is not None and _has_seeds(stage) and not self.kind.takes_runs:
            self.part.fault(
                f"{field} is {text!r}: that stage makes a model of each seed; take one with seeds: 1"
            )
        return Source(name=text, is_stage=True)

    def _why_none(self, text: str) -> str:
        """Of a name that is no stage before, no directory and none of the hub's."""
        if text == self.part.value("name"):
            return "that is this stage itself"
        if text in self.later:
            return "that stage comes later: move it up"
        return f"no stage before is called so, and no directory.{near(text, [MODEL, DEMO, *self.names])}"

    def _several(self) -> tuple[Source, ...]:
        texts = self.part.texts("models")
        if self.kind.takes == "pair" and len(texts) != 2:
            self.part.fault(f"models: there are {len(texts)}; give two: a model and what was made from it")
        return tuple(self.named(text, "models", place) for place, text in enumerate(texts))

    def _usual_several(self) -> tuple[Source, ...]:
        """The latest model, and what it was made from."""
        latest = self._latest()
        made = next((stage for stage in self.before if latest.is_stage and stage.name == latest.name), None)
        if made is None or not made.sources:
            self.part.fault("models is missing: give a list of models, such as [model, small]")
            return ()
        if self.kind.takes == "models":
            return (Source(name=MODEL, is_stage=False), latest)
        return (made.sources[0], latest)

    def _latest(self) -> Source:
        makers = [stage for stage in self.before if stage.kind.makes_model]
        return self.named(makers[-1].name if makers else MODEL, "model")

    def _earlier(self) -> tuple[Source, ...]:
        found = [stage for stage in self.before if stage.kind.leaves != "page"]
        if not found:
            self.part.fault("do: there is nothing to report: let other stages come before")
        return tuple(Source(name=stage.name, is_stage=True) for stage in found)


def _has_seeds(stage: Stage) -> bool:
    return stage.options.get("seeds", 1) != 1
