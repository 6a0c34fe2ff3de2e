"""Find the tensors, and the axes of each, that run over the vocabulary.

Decided by the table of the ``model_type`` and checked against the shapes in the file. Whether the output head
is tied is decided by what the file holds: transformers' own default for mT5 changed between versions 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import FAMILIES, Family, base_type

_SHOWN = 8
_NOT_PARAMETERS = ("BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64")


class TensorShape(Protocol):
    """What this module reads of a tensor: its type and its shape."""

    @property
    def dtype(self) -> str:
        """The safetensors name of the type, such as ``"F32"``."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        ...


@dataclass(frozen=True, slots=True)
class VocabAxes:
    """The tensors of a checkpoint that have one row (or column) per vocabulary entry."""

    rows: int
    """Rows of the table in the file, at least the number of token ids."""
    axes: dict[str, tuple[int, ...]]
    """Tensor name -> axes that carry the vocabulary."""
    embedding: str
    """Name of the input table."""
    heads: tuple[str, ...]
    """Output tables present in the file."""
    biases: tuple[str, ...]
    """Output biases present in the file."""
    tied: bool
    """True if the file holds no output table of its own."""


def find_vocab_axes(
    config: Mapping[str, Any], tensors: Mapping[str, TensorShape], vocab_size: int
) -> VocabAxes:
    """Say which tensors carry the vocabulary, and on which axis.

    Args:
        config: The parsed ``config.json``.
        tensors: Name -> shape and type, for every tensor of the checkpoint.
        vocab_size: Highest token id of the tokenizer plus one.

    Returns:
        The tensors to slice. Redundant copies of a tied table are listed too.

    Raises:
        InputError: Unknown ``model_type``, no input table, tables that disagree with each other, with
            ``config.json`` or with the tokenizer, or a tensor with an axis of the vocabulary's size that no
            rule of the table explains.
    """
    family = _family(config, tensors, vocab_size)
    tables = _present(tensors, [base + name for base in family.bases for name in family.tables])
    if not tables:
        wanted = ", ".join(base + family.tables[0] for base in family.bases)
        raise InputError(
            f"The checkpoint has no input embedding table: model_type {config['model_type']!r} keeps it "
            f"under one of {wanted}. Check that config.json belongs to these weights."
        )
    heads = _present(tensors, family.heads)
    biases = _present(tensors, family.biases)
    rows = tensors[tables[0]].shape[0] if len(tensors[tables[0]].shape) == 2 else 0
    axes: dict[str, tuple[int, ...]] = {name: (0,) for name in (*tables, *heads)}
    axes |= {name: (len(tensors[name].shape) - 1,) for name in biases}
    _check_shapes(tensors, tables[0], rows, tables=(*tables, *heads), biases=biases)
    _check_sizes(config, tables[0], rows, vocab_size)
    _check_explained(config, family, tensors, rows, axes)
    return VocabAxes(rows=rows, axes=axes, embedding=tables[0], heads=heads, biases=biases, tied=not heads)


def parameter_parts(
    config: Mapping[str, Any],
    tensors: Mapping[str, TensorShape],
    axes: VocabAxes,
    *,
    copies: Collection[str] = (),
) -> dict[str, int]:
    """Count unique parameters by the part of the model they belong to.

    Args:
        config: The parsed ``config.json``.
        tensors: Name -> shape and type.
        axes: The result of :func:`find_vocab_axes` for the same checkpoint.
        copies: Names of tensors known to repeat another one byte for byte; they are not counted. Copies of
            the input table under an encoder's or decoder's name are left out without being named, unless
            ``tie_word_embeddings`` is false.

    Returns:
        ``embeddings`` (input tables), ``positions`` (with segment tables), ``layers``, ``head`` (output
        tables, their biases and every task head) and ``other``; of a factorised model also ``primitives``, over
        which its embeddings are coordinates. Integers that add up to the model's size.
    """
    family = FAMILIES[config["model_type"]]
    left_out = set(copies)
    if config.get("tie_word_embeddings", True) is not False:
        left_out |= {name for name in axes.axes if name not in (axes.embedding, *axes.heads, *axes.biases)}
    basis = ("primitives",) if family.primitives else ()
    parts = dict.fromkeys(("embeddings", *basis, "positions", "layers", "head", "other"), 0)
    for name, info in tensors.items():
        if name in left_out:
            continue
        part = _part(family, name, info, axes)
        if part is not None:
            parts[part] += math.prod(info.shape)
    return parts


def _part(family: Family, name: str, info: TensorShape, axes: VocabAxes) -> str | None:
    if name in axes.axes:
        return "head" if name in axes.heads or name in axes.biases else "embeddings"
    if info.dtype in _NOT_PARAMETERS or _matches_below(family, name, family.buffers):
        return None
    if _matches_below(family, name, family.primitives):
        return "primitives"
    if _matches_below(family, name, family.positions):
        return "positions"
    # "other" is asked before tasks: a base model stored without prefix has its pooler at the top level.
    if _matches_below(family, name, family.layers):
        return "layers"
    if _matches_below(family, name, family.other):
        return "other"
    return "head" if _matches(name, family.tasks) else "other"


def _family(config: Mapping[str, Any], tensors: Mapping[str, TensorShape], vocab_size: int) -> Family:
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in FAMILIES:
        return FAMILIES[model_type]
    configured = config.get("vocab_size")
    sizes = {size for size in (configured, vocab_size) if isinstance(size, int)}
    hits = [f"{name} {list(info.shape)}" for name, info in tensors.items() if sizes & set(info.shape)]
    where = f"Tensors with an axis of the vocabulary's size: {_listed(hits)}. " if hits else ""
    what = "config.json has no model_type" if model_type is None else f"Unknown model_type {model_type!r}"
    raise InputError(
        f"{what}, so it is not known which tensors carry the vocabulary. {where}"
        f"Known types: {', '.join(sorted(name for name in FAMILIES if base_type(name) == name))}."
    )


def _check_shapes(
    tensors: Mapping[str, TensorShape],
    embedding: str,
    rows: int,
    *,
    tables: Sequence[str],
    biases: Sequence[str],
) -> None:
    wrong = [name for name in tables if len(tensors[name].shape) != 2]
    # (V,), or (1, V) for final_logits_bias
    wrong += [name for name in biases if math.prod(tensors[name].shape[:-1]) != 1 or not tensors[name].shape]
    if wrong:
        shown = _listed([f"{name} {list(tensors[name].shape)}" for name in wrong])
        raise InputError(f"Vocabulary tensors with an unexpected number of axes: {shown}.")
    sizes = {name: tensors[name].shape[0] for name in tables} | {
        name: tensors[name].shape[-1] for name in biases
    }
    differing = [f"{name} has {size}" for name, size in sizes.items() if size != rows]
    if differing:
        raise InputError(
            f"The vocabulary tensors disagree: {embedding} has {rows} rows, but {_listed(differing)}. "
            "Separate vocabularies for encoder and decoder are not supported."
        )


def _check_sizes(config: Mapping[str, Any], embedding: str, rows: int, vocab_size: int) -> None:
    if vocab_size > rows:
        raise InputError(
            f"The vocabulary and the embedding table do not fit: the tokenizer has ids up to "
            f"{vocab_size - 1}, but {embedding} has only {rows} rows. Is tokenizer.json from another model?"
        )
    for key in ("vocab_size", "decoder_vocab_size"):
        configured = config.get(key)
        if configured is not None and configured != rows:
            raise InputError(
                f"config.json says {key} {configured!r}, but {embedding} has {rows} rows. "
                "Correct the field or take the config.json that belongs to these weights."
            )


def _check_explained(
    config: Mapping[str, Any],
    family: Family,
    tensors: Mapping[str, TensorShape],
    rows: int,
    axes: Mapping[str, tuple[int, ...]],
) -> None:
    below = (*family.primitives, *family.positions, *family.layers, *family.other, *family.buffers)
    unexplained = [
        f"{name} {list(info.shape)}"
        for name, info in tensors.items()
        if rows in info.shape
        and name not in axes
        and not _matches(name, family.tasks)
        and not _matches_below(family, name, below)
    ]
    if unexplained:
        raise InputError(
            f"These tensors have an axis of the vocabulary's size ({rows}), but no rule for model_type "
            f"{config['model_type']!r} says what they are: {_listed(unexplained)}. Nothing was guessed; "
            "remove them from the checkpoint if the model does not need them."
        )


def _present(tensors: Mapping[str, TensorShape], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in tensors)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _matches_below(family: Family, name: str, patterns: Sequence[str]) -> bool:
    return any(name.startswith(base) and _matches(name[len(base) :], patterns) for base in family.bases)


def _listed(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
