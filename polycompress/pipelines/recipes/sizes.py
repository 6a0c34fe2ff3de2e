"""How much stages will leave, at most: by headers of models that are there, and options of what makes others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from polycompress.distill.layer_map import LayerMap
from polycompress.distill.layers import count_layers, plan_layers
from polycompress.errors import InputError
from polycompress.modeldir.axes import find_vocab_axes
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.paths import read_json
from polycompress.pipelines.initialising.request import PIECES
from polycompress.pipelines.recipes.commands import Value
from polycompress.pipelines.recipes.stages import Stage

RESULTS: Final = 1 << 20
"""Bytes of what a stage measures, or of a card, a manifest and a log; results in a hundred languages are a tenth."""
_LABELS: Final = 64
"""Of a task's head."""
_TRAINED: Final = 4
"""Bytes of a value that was trained, whatever it had before."""

Options = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """A model by its parts; of one that is not there yet, at most."""

    config: Mapping[str, Any]
    tensors: Mapping[str, int]
    """Values of each."""
    width: int
    """Bytes of a value."""
    table: frozenset[str]
    """Tensors with a row for each token; empty: not known."""
    rows: int
    """Of these."""
    rest: int
    """Bytes of tokenizer, settings and all else that is no tensor."""

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(self.tensors.values()) * self.width + self.rest


def extent_of(path: Path) -> Extent | None:
    """A model directory's extent; headers are read, no weights. None: it is not understood."""
    try:
        config = read_json(path, "config.json") or {}
        checkpoint = open_checkpoint(path)
    except InputError:
        return None
    try:
        axes = find_vocab_axes(config, checkpoint.tensors, int(config.get("vocab_size") or 0))
        table, rows = frozenset(axes.axes), axes.rows
    except (InputError, TypeError, ValueError):
        table, rows = frozenset(), 0
    everything = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    weights = sum((path / name).stat().st_size for name in checkpoint.files)
    return Extent(
        config=config,
        tensors={name: math.prod(info.shape) for name, info in checkpoint.tensors.items()},
        width=max(info.itemsize for info in checkpoint.tensors.values()),
        table=table,
        rows=rows,
        rest=everything - weights,
    )


def model_of(stage: Stage, source: Extent | None) -> Extent | None:
    """The model that a stage will make out of another, or of a student that is there; None: not known, or none."""
    make = _MODELS.get(stage.command.name)
    return None if make is None or source is None else make(source, stage.options)


def output_of(
    stage: Stage, source: Extent | None, model: Extent | None, teacher: Extent | None
) -> int | None:
    """Bytes of all that a stage will leave, at most; None: not known.

    Args:
        stage: Which.
        source: The model that it takes.
        model: The model that it will make.
        teacher: The model that its option ``teacher`` names.
    """
    if not stage.has_output:
        return 0
    if not stage.kind.makes_model:
        return RESULTS
    if model is None or source is None or stage.kind.reads_recipe:
        return None
    if stage.command.name == "bistil general":
        # Beside the result, the student as it began, and the teacher trimmed.
        return 2 * model.bytes + (0 if stage.options.get("no-trim") else source.bytes) + RESULTS
    if stage.command.name == "bistil task":
        return _with_teacher(stage.options, model, teacher)
    runs = stage.options.get("seeds", 1)
    return (model.bytes + RESULTS) * (runs if isinstance(runs, int) else 1)


def _with_teacher(options: Options, student: Extent, teacher: Extent | None) -> int | None:
    """The student, what changed in it by place and value, and the teacher that was tuned for it."""
    density = options.get("density", 0.1)
    changed = 2 * float(density if isinstance(density, int | float) else 1) * student.bytes
    if "task-teacher" in options:
        return student.bytes + math.ceil(changed) + RESULTS
    return (
        None
        if teacher is None
        else student.bytes + math.ceil(changed) + _taught(teacher, options).bytes + RESULTS
    )


def _trimmed(source: Extent, options: Options) -> Extent:
    """Of a size that is asked for, as many rows; else no more than there were."""
    size = options.get("size")
    if not isinstance(size, int) or not source.table or not 0 < size < source.rows:
        return source
    tensors = {
        name: math.ceil(held * size / source.rows) if name in source.table else held
        for name, held in source.tensors.items()
    }
    return replace(source, tensors=tensors, rows=size)


def _student(given: Extent, options: Options) -> Extent | None:
    """Some of the layers; which they are makes no difference here."""
    source = _trained(given, options)
    listed = [part for part in str(options.get("layer-map", "")).split(",") if part.strip()]
    layers = options.get("layers", len(listed) or None)
    if not isinstance(layers, int):
        return source
    try:
        depth = count_layers(source.config)
        plan = plan_layers(source.config, source.tensors, LayerMap(tuple(range(layers)), depth))
    except InputError:
        return source
    tensors = {name: source.tensors[old] for name, old in plan.renamed.items()}
    return replace(source, config=plan.config, tensors=tensors)


def _taught(source: Extent, options: Options) -> Extent:
    """With a head of a task."""
    hidden = _hidden(source)
    return _trained(replace(source, tensors={**source.tensors, "head": hidden * (hidden + _LABELS)}), options)


def _filling(source: Extent, options: Options) -> Extent:
    """With a head that says which token was masked."""
    hidden = _hidden(source)
    head = hidden * (hidden + _LABELS) + source.rows
    return _trained(replace(source, tensors={**source.tensors, "head": head}), options)


def _trained(source: Extent, options: Options) -> Extent:
    """The same values."""
    return replace(source, width=max(source.width, _TRAINED))


def _extended(source: Extent, options: Options) -> Extent | None:
    """With rows for new pieces; how many tokens another tokenizer has is not known here."""
    pieces = options.get("pieces", PIECES)
    if not source.table or not isinstance(pieces, int) or "extend" not in options:
        return None
    share = 1 + pieces / source.rows
    tensors = {
        name: math.ceil(held * share) if name in source.table else held
        for name, held in source.tensors.items()
    }
    return replace(source, tensors=tensors, rows=source.rows + pieces, rest=math.ceil(source.rest * share))


def _exported(source: Extent, options: Options) -> Extent:
    """As a graph, with less than a megabyte for what it computes; in eight bits about a quarter."""
    width = _TRAINED // 2 if options.get("int8") else _TRAINED
    return replace(source, width=width if options.get("onnx") else source.width, rest=source.rest + RESULTS)


def _same(source: Extent, options: Options) -> Extent:
    """No more than there was."""
    return source


def _hidden(source: Extent) -> int:
    hidden = source.config.get("hidden_size")
    return hidden if isinstance(hidden, int) else 0


_MODELS: Final[Mapping[str, Callable[[Extent, Options], Extent | None]]] = {
    "trim": _trimmed,
    "bistil general": _student,
    "bistil task": _taught,
    "distil": _taught,
    "mlm": _filling,
    "finetune": _taught,
    "ofa": _extended,
    "factorise": _same,
    "moe train": _trained,
    "moe extract": _same,
    "export": _exported,
}
"""By command. Experts are as many as there are families, which is not known here."""
