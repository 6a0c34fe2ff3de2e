"""Layers of a teacher made the layers of a student: what happens to names of tensors and to config.json.

Nothing is read or written here, and no weights are needed; ``pipelines.distilling.student_files`` carries a plan out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polycompress.distill.layer_map import LayerMap
from polycompress.distill.layer_table import ENCODER_DECODER, FULL, REFUSED, SLIDING, STACKS, Stack
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type, is_moe


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerPlan:
    """What becomes of a checkpoint."""

    config: Mapping[str, Any]
    """The student's config.json."""
    renamed: Mapping[str, str]
    """Each tensor of the student, and the tensor of the teacher that it is a copy of."""
    dropped: tuple[str, ...]
    """Tensors of the teacher that the student lacks."""
    notes: tuple[str, ...] = ()
    """What a reader of the student's card has to know."""


def count_layers(config: Mapping[str, Any]) -> int:
    """How many layers a configuration gives its model.

    Args:
        config: The parsed config.json.

    Raises:
        InputError: Of this ``model_type`` no student can be made (the message says why), or the number is missing
            or is none.
    """
    return _count(config, _stack(config))


def plan_layers(config: Mapping[str, Any], tensor_names: Iterable[str], layer_map: LayerMap) -> LayerPlan:
    """Say which tensors a student of chosen layers has, under which names, and what its configuration is.

    Where all layers are kept the result is the source. Lists in the configuration that go layer by layer are cut
    as the layers are; where a rule says which layers see a window only, such a list takes its place, so that each
    layer goes on seeing what it saw.

    Args:
        config: The parsed config.json, which is not changed.
        tensor_names: Of all tensors of the checkpoint.
        layer_map: For each layer of the student, the teacher's.

    Raises:
        InputError: Of this ``model_type`` no student can be made, or configuration, tensors and map do not fit
            each other; all faults are named.

    Example:
        >>> names = ["encoder.layer.0.output.dense.weight", "encoder.layer.1.output.dense.weight"]
        >>> config = {"model_type": "bert", "num_hidden_layers": 2}
        >>> dict(plan_layers(config, names, LayerMap((1,), 2)).renamed)
        {'encoder.layer.0.output.dense.weight': 'encoder.layer.1.output.dense.weight'}
    """
    stack = _stack(config)
    layers = _count(config, stack)
    names = list(tensor_names)
    numbered = _numbered(stack, names)
    faults = [*_faults(config, stack, layers, layer_map), *_layer_faults(numbered, layers)]
    if faults:
        raise InputError("; ".join(faults))
    if layer_map.layers == tuple(range(layers)):
        return LayerPlan(
            config=copy.deepcopy(dict(config)), renamed={name: name for name in names}, dropped=()
        )
    renamed, dropped, notes = _rename(stack, names, numbered, layer_map)
    student, more = cut_config(config, layer_map)
    return LayerPlan(config=student, renamed=renamed, dropped=dropped, notes=(*notes, *more))


def _stack(config: Mapping[str, Any]) -> Stack:
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise InputError("config.json has no model_type, so it is not known which tensors are which layer's.")
    kind = base_type(kind)
    if kind in REFUSED:
        raise InputError(f"No student can be cut out of a model of type {kind!r}: {REFUSED[kind]}.")
    if config.get("is_encoder_decoder"):
        raise InputError(f"No student can be cut out of this model of type {kind!r}: {ENCODER_DECODER}.")
    if kind not in STACKS:
        raise InputError(
            f"It is not known how a model of type {kind!r} numbers its layers. Known types: "
            f"{', '.join(sorted(STACKS))}."
        )
    return STACKS[kind]


def _count(config: Mapping[str, Any], stack: Stack) -> int:
    found = {field: config[field] for field in stack.counts if field in config}
    if not found:
        raise InputError(
            f"config.json has no {stack.counts[0]!r}, so it is not known how many layers there are."
        )
    for field, value in found.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"config.json: {field!r} is {value!r}, no number of layers. Restore the file.")
    if len(set(found.values())) > 1:
        shown = ", ".join(f"{field} {value}" for field, value in found.items())
        raise InputError(f"config.json counts its layers differently: {shown}. Correct the wrong field.")
    return int(next(iter(found.values())))


def _numbered(stack: Stack, names: Sequence[str]) -> dict[str, tuple[str, int, str]]:
    """Tensors of layers: what stands before the number, the number, and what stands behind it."""
    pattern = re.compile(rf"({stack.name})(\d{{1,4}})\.(.+)", re.DOTALL)
    matches = {name: pattern.fullmatch(name) for name in names}
    return {name: (match[1], int(match[2]), match[3]) for name, match in matches.items() if match}


def _faults(config: Mapping[str, Any], stack: Stack, layers: int, layer_map: LayerMap) -> list[str]:
    faults = []
    if is_moe(str(config["model_type"])) and layer_map.layers != tuple(range(layers)):
        faults.append(
            f"No student can be cut out of a model of type {config['model_type']!r}: its layers with experts are "
            "fixed; extract one family first: polycompress moe extract DIR --family NAME --out PLAIN"
        )
    if layer_map.teacher_layers != layers:
        faults.append(
            f"The layer map is one of a teacher of {layer_map.teacher_layers} layers, but config.json says {layers}"
        )
    kinds = config.get("layer_types")
    if kinds is not None and not (
        isinstance(kinds, list) and len(kinds) == layers and all(isinstance(kind, str) for kind in kinds)
    ):
        faults.append(f"config.json: 'layer_types' must be a list of {layers} names, one for each layer")
    moved = any(own != layer for own, layer in enumerate(layer_map.layers))
    if stack.by_index is not None and config.get(stack.by_index) and moved:
        faults.append(
            f"config.json: with {stack.by_index!r} a layer's attention depends on its number, so only the first layers "
            "can be kept: use the strategy 'bottom'"
        )
    pruned = config.get("pruned_heads")
    if pruned and not isinstance(pruned, dict):
        faults.append("config.json: 'pruned_heads' must map layers to heads. Restore the file")
    return faults


def _layer_faults(numbered: Mapping[str, tuple[str, int, str]], layers: int) -> list[str]:
    found = {number for _, number, _ in numbered.values()}
    faults = []
    if missing := sorted(set(range(layers)) - found):
        faults.append(
            f"The checkpoint has no tensors of layer {missing[0]}, though config.json says {layers} layers. Do the two "
            "belong together?"
        )
    if beyond := sorted(found - set(range(layers))):
        faults.append(
            f"The checkpoint has tensors of layer {beyond[0]}, though config.json says {layers} layers (0 to "
            f"{layers - 1}). Do the two belong together?"
        )
    return faults


def _rename(
    stack: Stack,
    names: Sequence[str],
    numbered: Mapping[str, tuple[str, int, str]],
    layer_map: LayerMap,
) -> tuple[dict[str, str], tuple[str, ...], list[str]]:
    new_number = {layer: own for own, layer in enumerate(layer_map.layers)}
    renamed: dict[str, str] = {}
    dropped, left_out = [], []
    for name in names:
        if name not in numbered:
            renamed[name] = name
            continue
        before, layer, behind = numbered[name]
        if layer not in new_number:
            dropped.append(name)
        elif new_number[layer] == 0 and layer and behind in stack.absent_at_bottom:
            dropped.append(name)
            left_out.append(name)
        else:
            renamed[f"{before}{new_number[layer]}.{behind}"] = name
    notes = [
        f"the lowest layer of this architecture has no place for {name}, so that layer starts without it"
        for name in left_out
    ]
    return renamed, tuple(dropped), notes


def cut_config(config: Mapping[str, Any], layer_map: LayerMap) -> tuple[dict[str, Any], list[str]]:
    """The configuration of a student of chosen layers, of which no tensors are known.

    Args:
        config: The teacher's config.json, which is not changed.
        layer_map: For each layer of the student, the teacher's.

    Returns:
        The student's, and notes for a reader of its card.

    Raises:
        InputError: See ``plan_layers``.
    """
    stack = _stack(config)
    layers = _count(config, stack)
    if faults := _faults(config, stack, layers, layer_map):
        raise InputError("; ".join(faults))
    student = copy.deepcopy(dict(config))
    for field in stack.counts:
        if field in student:
            student[field] = len(layer_map.layers)
    if student.get("pruned_heads"):
        pruned = student["pruned_heads"]
        student["pruned_heads"] = {
            str(own): pruned[str(layer)] for own, layer in enumerate(layer_map.layers) if str(layer) in pruned
        }
    kinds = student.get("layer_types")
    if kinds is None and stack.kinds is not None:
        kinds = stack.kinds(config, layers)
    if kinds is None:
        return student, []
    student["layer_types"] = [kinds[layer] for layer in layer_map.layers]
    return student, _follow_kinds(student, stack)


def _follow_kinds(student: dict[str, Any], stack: Stack) -> list[str]:
    """Make the fields that give a rule agree with the list of kinds, for readers that know only the rule."""
    kinds = student["layer_types"]
    notes = []
    if "max_window_layers" in stack.patterns and student.get("use_sliding_window"):
        student["max_window_layers"] = next(
            (at for at, kind in enumerate(kinds) if kind == SLIDING), len(kinds)
        )
    if "global_attn_every_n_layers" in stack.patterns:
        student.pop("global_attn_every_n_layers", None)
        every = _period(kinds)
        if every is not None:
            student["global_attn_every_n_layers"] = every
        else:
            notes.append(
                "which layers see the whole text follows no fixed rhythm, which only transformers 5 or later can load "
                "(layer_types in config.json)"
            )
    for field in ("sliding_window_pattern", "_sliding_window_pattern"):
        if field in stack.patterns:
            student.pop(field, None)
    return notes


def _period(kinds: Sequence[str]) -> int | None:
    """The n for which exactly every n-th layer, from the lowest, sees the whole text."""
    for every in range(1, len(kinds) + 1):
        if all((kind == FULL) == (at % every == 0) for at, kind in enumerate(kinds)):
            return every
    return None
