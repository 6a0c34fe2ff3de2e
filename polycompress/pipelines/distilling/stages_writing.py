"""Write what came of a recipe: the last stage's student, with a manifest and a card that tell of all stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.directory import safe_file
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import MANIFEST_FILE, read_manifest, write_manifest
from polycompress.modeldir.rawio import copy_file
from polycompress.modeldir.stages_card import render_stages_card
from polycompress.pipelines.distilling.recipe_stages import Stage

_CARD: Final = "README.md"
_FIGURES: Final = (
    "steps",
    "seconds",
    "tokens",
    "precision",
    "examples",
    "dev_score",
    "held_out_loss",
)
"""Of a stage's own manifest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What is to be written."""

    name: str
    """Of the recipe."""
    student: Path
    """The last stage's."""
    stages: Sequence[tuple[Stage, Path]]
    """Each with its model."""
    before: Mapping[str, int]
    """The teacher's size."""


def write_result(result: Result, out: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the last student; its manifest and its card are written anew.

    Args:
        result: What is to be written.
        out: The directory; it appears whole or not at all.
        facts: For the manifest.

    Returns:
        The manifest.

    Raises:
        StorageError: The disk refused.
    """
    last = read_manifest(result.student) or {}
    manifest = {
        **last,
        **facts,
        "recipe": result.name,
        "stages": [describe(stage, path) for stage, path in result.stages],
        "sizes": {"before": dict(result.before), "after": dict(part_of(part_of(last, "sizes"), "after"))},
        "source_of_last_stage": part_of(last, "source"),
    }
    manifest.pop("stage", None)
    with atomic_directory(out) as building:
        for path in sorted(result.student.rglob("*")):
            name = path.relative_to(result.student).as_posix()
            if path.is_dir() or name in (MANIFEST_FILE, _CARD):
                continue
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(safe_file(result.student, name), building / name)
        write_manifest(building, manifest)
        (building / _CARD).write_text(render_stages_card(manifest), encoding="utf-8")
    return manifest


def describe(stage: Stage, model: Path) -> dict[str, Any]:
    """A finished stage in plain values."""
    manifest = read_manifest(model) or {}
    figures = next(
        (part for name in ("finetuning", "distillation", "training") if (part := part_of(manifest, name))), {}
    )
    return {
        "number": stage.number,
        "name": stage.name,
        "kind": stage.kind,
        "data": stage.data,
        "teacher": stage.taught_by,
        "task": stage.task.id if stage.task is not None else None,
        "losses": {each.name: each.weight for each in stage.losses},
        **{name: figures[name] for name in _FIGURES if name in figures},
    }
