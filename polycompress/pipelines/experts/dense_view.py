"""A model with experts seen as the plain model that one expert makes of it: headers only, no weights are moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from polycompress.modeldir.axes import find_vocab_axes
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.rewriting import Entry, as_it_is
from polycompress.moe.places import LayerTensors
from polycompress.pipelines.experts.configs import dense_config
from polycompress.pipelines.experts.tensors import expert_slice
from polycompress.pipelines.trimming.loading import OpenModel


def dense_view(opened: OpenModel, networks: Sequence[LayerTensors], expert: int) -> OpenModel:
    """The plain model in which one expert is the network of every layer that has experts.

    Its tensors say where their bytes lie in the files of the model with experts. Configuration and sizes are those of
    the plain model; files as a whole are not.

    Args:
        opened: The model with experts.
        networks: Its layers' networks.
        expert: Counted from 0.
    """
    slices = expert_slices(opened, networks, expert)
    tensors: dict[str, TensorInfo] = {}
    for info in opened.checkpoint.tensors.values():
        for each in slices.get(info.name, (info,)):
            tensors[each.name] = each
    checkpoint = replace(opened.checkpoint, tensors=tensors)
    config = dense_config(opened.config)
    axes = find_vocab_axes(config, tensors, opened.vocabulary.size)
    return replace(opened, config=config, checkpoint=checkpoint, axes=axes)


def expert_slices(
    opened: OpenModel, networks: Sequence[LayerTensors], expert: int
) -> Mapping[str, tuple[TensorInfo, ...]]:
    """What stands for each tensor of the networks: one expert's slice, and nothing for a router."""
    found: dict[str, tuple[TensorInfo, ...]] = {}
    for each in networks:
        for plain, experts in zip(each.plain, each.experts, strict=True):
            found[experts] = (expert_slice(opened.checkpoint.tensors[experts], plain, expert),)
        found[each.router] = ()
    return found


def slice_entries(
    opened: OpenModel, networks: Sequence[LayerTensors], expert: int
) -> dict[str, dict[str, Entry]]:
    """The same as ``write_exchanged`` takes it: raw bytes."""
    return {
        name: {info.name: as_it_is(opened.checkpoint, info) for info in slices}
        for name, slices in expert_slices(opened, networks, expert).items()
    }
