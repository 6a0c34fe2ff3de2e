"""What a whole recipe is asked for, as its stages are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polycompress.pipelines.distilling.general_run import kept_of, size_of
from polycompress.pipelines.distilling.recipe import Recipe
from polycompress.pipelines.distilling.recipe_learning import TEACHER
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import Models
from polycompress.training.metrics import Record

Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesRun:
    """A recipe and its models, and what all its stages are told."""

    recipe: Recipe
    models: Models
    out: Path
    record: Mapping[str, Any]
    """For every run's configuration and manifest: tool, command, languages, layers."""
    progress: Callable[[Record], None] | None = None
    tell: Tell | None = None
    tuned: dict[str, Path] = field(default_factory=dict)
    """Models of stages that made a teacher."""

    @property
    def teacher(self) -> Path:
        """The recipe's teacher, as stages take it."""
        return self.out / TEACHER if self.recipe.student.trim else self.models.teacher.path

    def teachers_of(self, stage: Stage) -> tuple[Path, ...]:
        """The models that a stage learns of; on parallel sentences they have their own tokens, and need no trimming."""
        known = {
            TEACHER: self.models.teacher.path if stage.data == "parallel" else self.teacher,
            **self.tuned,
            **{name: model.path for name, model in self.models.directories.items()},
        }
        return tuple(known[name] for name in stage.teachers)

    def facts(self) -> dict[str, Any]:
        """Where a student comes from, for manifests."""
        before = self.models.teacher
        return {"source": before.record(), "sizes": {"before": size_of(before.path)}, **kept_of(self.teacher)}

    def say(self, what: str) -> None:
        """Tell what is being prepared."""
        if self.tell is not None:
            self.tell(what, 0, None)
