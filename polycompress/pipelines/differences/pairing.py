"""Which tensor of a tuned model was which of its base: heads come and go, and bring a prefix to all the others."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Final

from polycompress.distill.sft.information import CONFIG_FIELDS
from polycompress.errors import InputError
from polycompress.modeldir.header import TensorInfo

COSMETIC: Final = frozenset({
    "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "tie_word_embeddings",
    "return_dict", "output_attentions", "output_hidden_states",
})  # fmt: skip
"""Fields of config.json that say nothing of a model's shape; types are compared tensor by tensor."""
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Pairing:
    """How two models' tensors go together."""

    prefix: str
    """What the tuned model puts before the base's names."""
    pairs: Mapping[str, str]
    """The base's name, and the tuned model's."""
    added: tuple[str, ...]
    """Only the tuned model has them, under these names."""
    dropped: tuple[str, ...]
    """Only the base has them."""


def pair_up(
    base: Mapping[str, TensorInfo],
    tuned: Mapping[str, TensorInfo],
    base_config: Mapping[str, Any],
    tuned_config: Mapping[str, Any],
    *,
    names: tuple[str, str],
    heads: Container[str] = (),
) -> Pairing:
    """Pair tensors by name, behind a prefix if need be.

    Args:
        base: Tensors of the model before.
        tuned: Tensors of the model after.
        base_config: The former's configuration.
        tuned_config: The latter's.
        names: Of the two models, for messages.
        heads: Tensors of the model after that may have another shape than before: they are kept whole.

    Raises:
        InputError: Types, shapes or configurations differ, or hardly a name is the same; every fault is named.
    """
    faults = [
        f"field '{key}' of config.json is {base_config[key]!r} and {tuned_config[key]!r}"
        for key in sorted(base_config.keys() & tuned_config.keys() - CONFIG_FIELDS - COSMETIC)
        if base_config[key] != tuned_config[key]
    ]
    prefix = _prefix(base, tuned)
    pairs = {name: prefix + name for name in base if prefix + name in tuned}
    # Of a head that was lost and a head that was made there are few tensors; of other models there are many.
    if 2 * len(pairs) < len(base):
        faults.append(f"only {len(pairs)} of {len(base)} tensors have the same name")
    for name, twin in pairs.items():
        old, new = base[name], tuned[twin]
        if (old.dtype, old.shape) != (new.dtype, new.shape) and twin not in heads:
            faults.append(f"tensor '{name}' is {old.dtype} {old.shape} and {new.dtype} {new.shape}")
    if faults:
        shown = faults[:_SHOWN] + ([f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])
        raise InputError(
            f"{names[0]} and {names[1]} are not one model before and after tuning:\n  " + "\n  ".join(shown)
        )
    added = sorted(tuned.keys() - set(pairs.values()))
    return Pairing(prefix, pairs, tuple(added), tuple(sorted(base.keys() - pairs.keys())))


def head_fields(base: Mapping[str, Any], tuned: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the head in the tuned model's configuration, where they are others than the base's."""
    return {key: tuned[key] for key in sorted(CONFIG_FIELDS & tuned.keys()) if base.get(key) != tuned[key]}


def _prefix(base: Mapping[str, TensorInfo], tuned: Mapping[str, TensorInfo]) -> str:
    """The first part of the tuned model's names, or nothing, under which most of the base's names are found."""
    candidates = ["", *sorted({f"{name.partition('.')[0]}." for name in tuned if "." in name})]
    return max(candidates, key=lambda prefix: sum(prefix + name in tuned for name in base))
