"""Which tensors of a checkpoint become factors, which repeat the table, and which stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from polycompress.embeddings.stored_table import StoredTable
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import is_factorised, is_moe, primitives_name
from polycompress.modeldir.tensors import Checkpoint
from polycompress.pipelines.trimming.loading import OpenModel


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table to factorise."""

    table: StoredTable
    copies: tuple[str, ...]
    """Tensors that repeat it byte for byte, and go."""
    heads: tuple[str, ...]
    """Output tables of their own, which stay dense."""
    config: Mapping[str, Any]
    """Fields that ``config.json`` needs besides: whether the head is tied."""


@dataclass(frozen=True, slots=True)
class FactorisedTable:
    """A table to make plain."""

    coordinates: StoredTable
    primitives: StoredTable

    @property
    def rank(self) -> int:
        """R."""
        return self.primitives.shape[0]


def find_plain_table(opened: OpenModel) -> PlainTable:
    """The table of a model, and what hangs on it.

    Raises:
        InputError: It is factorised already, of a type that cannot be computed with, or the model is an
            encoder-decoder whose tables differ.
    """
    root, model_type = opened.source.path, str(opened.config["model_type"])
    if is_factorised(model_type):
        raise InputError(
            f"{root}: its table is factorised already. For another rank, make it plain first: polycompress ofa export "
            f"{root} --dense --out PLAIN"
        )
    if is_moe(model_type):
        raise InputError(
            f"{root}: has language-family experts, and no model has both these and a factorised table. Extract one "
            f"family first: polycompress moe extract {root} --family NAME --out PLAIN"
        )
    axes, checkpoint = opened.axes, opened.checkpoint
    table = StoredTable(checkpoint, axes.embedding)
    others = [name for name in axes.axes if name not in (axes.embedding, *axes.biases)]
    copies = tuple(name for name in others if same_values(checkpoint, axes.embedding, name))
    own = tuple(name for name in others if name not in copies)
    if own and (opened.config.get("is_encoder_decoder") or set(own) - set(axes.heads)):
        raise InputError(
            f"{root}: {', '.join(own)} differ from {axes.embedding}. Encoder-decoders can be factorised where one "
            "table serves all ends."
        )
    tied: dict[str, Any] = {}
    if own:
        tied = {"tie_word_embeddings": False}
    elif set(copies) & set(axes.heads):
        tied = {"tie_word_embeddings": True}
    return PlainTable(table, copies, own, tied)


def find_factorised_table(opened: OpenModel) -> FactorisedTable:
    """The factors of a model.

    Raises:
        InputError: It has none, or they do not fit each other or the configuration.
    """
    root, model_type = opened.source.path, str(opened.config["model_type"])
    if is_moe(model_type):
        raise InputError(
            f"{root}: has language-family experts, and a plain table. Extract one family: polycompress moe extract "
            f"{root} --family NAME --out PLAIN"
        )
    if not is_factorised(model_type):
        raise InputError(
            f"{root}: its table is plain already (model_type {model_type!r}): plain transformers load it as it is."
        )
    coordinates = StoredTable(opened.checkpoint, opened.axes.embedding)
    primitives = StoredTable(opened.checkpoint, primitives_name(opened.axes.embedding))
    ranks = {
        f"the coordinates ({coordinates.name})": coordinates.shape[1],
        f"the primitive embeddings ({primitives.name})": primitives.shape[0],
        "config.json's factorised_rank": opened.config.get("factorised_rank"),
    }
    if len(set(ranks.values())) > 1:
        said = ", ".join(f"{value} in {where}" for where, value in ranks.items())
        raise InputError(f"{root}: the rank is {said}. Restore the file that is wrong.")
    return FactorisedTable(coordinates, primitives)


def same_values(checkpoint: Checkpoint, one: str, other: str) -> bool:
    """Whether two tables hold the same, block by block; False where type or shape differ."""
    first, second = checkpoint.tensors[one], checkpoint.tensors[other]
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    pairs = zip(StoredTable(checkpoint, one).blocks(), StoredTable(checkpoint, other).blocks(), strict=True)
    return all(np.array_equal(left.view(np.uint32), right.view(np.uint32)) for left, right in pairs)
