"""What of a teacher's can be kept: which arrays each text has, and which of their values can be true."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

DTYPES: Final[Mapping[str, str]] = {"F32": "<f4", "F16": "<f2", "I32": "<i4"}
"""Those of safetensors that are used here, and numpy's names for them."""
_ROUNDING: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Field:
    """One array."""

    dtype: str
    """Of ``DTYPES``."""
    shape: tuple[int, ...]
    """Of one text's value, or of one token's."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one text's value, or of one token's."""
        return math.prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize


@dataclass(frozen=True, slots=True)
class Kind:
    """What a store keeps of each text."""

    name: str
    fields: Mapping[str, Field]
    per_token: bool
    """Whether each array has a row for each token of the text, or is one for the whole text."""
    classes: int = 0
    """How many classes ids are of; 0 where there are no ids."""

    def document(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        fields = {name: [field.dtype, list(field.shape)] for name, field in self.fields.items()}
        return {"name": self.name, "fields": fields, "per_token": self.per_token, "classes": self.classes}


def sentence_vectors(width: int) -> Kind:
    """One vector a text: ``vectors`` (d,) in fp32.

    Args:
        width: d
    """
    return Kind("sentence-vectors", {"vectors": Field("F32", (_positive(width, "width"),))}, per_token=False)


def top_k_logits(k: int, classes: int) -> Kind:
    """At each token the likeliest classes: ``ids`` (n, k), ``log_probs`` (n, k) and ``tail`` (n,); see ``top_k``.

    Args:
        k: How many are kept.
        classes: Of how many.
    """
    if not 1 <= k <= classes < 1 << 31:
        raise InputError(f"k={k} has to be between 1 and the number of classes, {classes}.")
    fields = {"ids": Field("I32", (k,)), "log_probs": Field("F32", (k,)), "tail": Field("F32", ())}
    return Kind("top-k-logits", fields, per_token=True, classes=classes)


def answers(classes: int, *, per_token: bool) -> Kind:
    """What a task's head says, all of it: ``logits`` (C,) of a text or (n, C) of its tokens, in fp32.

    Args:
        classes: C
        per_token: Whether each token has an answer, or the text one.
    """
    return Kind("answers", {"logits": Field("F32", (_positive(classes, "classes"),))}, per_token=per_token)


def hidden_states(layers: Sequence[int], width: int) -> Kind:
    """States of each token: ``hidden.LAYER`` (n, d) in half precision.

    Args:
        layers: Numbers of hidden states, 0 for the embeddings.
        width: d
    """
    if not layers or len(set(layers)) < len(layers) or min(layers) < 0:
        raise InputError(f"Hidden states {list(layers)}: name at least one, each once, from 0 on.")
    field = Field("F16", (_positive(width, "width"),))
    return Kind("hidden-states", {f"hidden.{layer}": field for layer in sorted(layers)}, per_token=True)


def convert(kind: Kind, name: str, value: NDArray[Any], where: str) -> NDArray[Any]:
    """A text's array as it is kept.

    Args:
        kind: What is kept.
        name: Of the field.
        value: Its array.
        where: Whose, for messages.

    Returns:
        (rows, ...) where a text that has one value for the whole of it has one row.

    Raises:
        InputError: The shape is another, or a value cannot be true or does not fit into the type.
    """
    field = kind.fields[name]
    array = np.asarray(value) if kind.per_token else np.asarray(value)[None]
    if array.ndim != 1 + len(field.shape) or array.shape[1:] != field.shape:
        wanted = ("tokens", *field.shape) if kind.per_token else field.shape
        raise InputError(f"{where}: '{name}' has the shape {np.asarray(value).shape}, not {wanted}.")
    with np.errstate(over="ignore", invalid="ignore"):
        kept = array.astype(DTYPES[field.dtype])
    if field.dtype == "F16" and not np.isfinite(kept).all() and np.isfinite(array).all():
        raise InputError(
            f"{where}: '{name}' holds {np.abs(array).max():.4g}, which half precision (up to 65504) cannot hold."
        )
    if field.dtype == "I32" and not np.array_equal(kept, array):
        raise InputError(f"{where}: '{name}' holds ids that are no whole numbers below {kind.classes}.")
    check_values(kind, name, kept, where)
    return kept


def check_values(kind: Kind, name: str, values: NDArray[Any], where: str) -> None:
    """Refuse values that no teacher can have said.

    Args:
        kind: What is kept.
        name: Of the field.
        values: (rows, ...)
        where: Whose, for the message.

    Raises:
        InputError: There is one; what it is is named.
    """
    fault = None
    if name == "ids":
        if values.size and not 0 <= int(values.min()) <= int(values.max()) < kind.classes:
            fault = f"ids outside 0 to {kind.classes - 1}"
        elif values.shape[-1] > 1 and not np.diff(np.sort(values, axis=-1), axis=-1).all():
            fault = "an id twice at one place"
    elif name == "log_probs":
        # NaN compares with nothing, so it is a fault too; -inf is a class that is ruled out.
        fault = None if (values <= _ROUNDING).all() else "logarithms of probabilities above 0, or NaN"
    elif name == "tail":
        fault = None if ((values >= 0.0) & (values <= 1.0)).all() else "masses outside 0 to 1, or NaN"
    elif not np.isfinite(values).all():
        fault = "NaN or infinity"
    if fault is not None:
        raise InputError(f"{where}: '{name}' holds {fault}. Compute it again.")


def _positive(value: int, name: str) -> int:
    if value < 1:
        raise InputError(f"{name}={value} has to be above 0.")
    return value
