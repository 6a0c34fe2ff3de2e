"""Whether models can be merged: of one type and shape, with one tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.pipelines.differences.pairing import COSMETIC
from polycompress.pipelines.trimming.loading import OpenModel, Vocabulary
from polycompress.vocab.document import pieces

_SHOWN: Final = 12
_UNUSED: Final = ("truncation", "padding", "version")
"""Parts of a tokenizer.json that change no segmentation."""


def check_alike(models: Sequence[OpenModel]) -> None:
    """Refuse models that are not of one shape and one tokenizer.

    Args:
        models: At least one; the others are compared with the first.

    Raises:
        InputError: Configurations, tensors or tokenizers differ; what does is said of each model.
    """
    first, *others = models
    faults: list[str] = []
    for other in others:
        found = [
            *_config_faults(first.config, other.config),
            *_tensor_faults(first, other),
            *_tokenizer_faults(first.vocabulary, other.vocabulary),
        ]
        if found:
            more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            faults.append(
                f"{first.source.path} and {other.source.path} differ:\n  "
                + "\n  ".join([*found[:_SHOWN], *more])
            )
    if faults:
        raise InputError(
            "\n".join(faults)
            + "\nModels that are merged have one shape and one tokenizer: students of one teacher, "
            "trimmed alike or not at all."
        )


def _config_faults(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        f"field '{key}' of config.json is {_short(first[key])} and {_short(other[key])}"
        for key in sorted(first.keys() & other.keys() - COSMETIC)
        if first[key] != other[key]
    ]


def _tensor_faults(first: OpenModel, other: OpenModel) -> list[str]:
    own, its = first.checkpoint.tensors, other.checkpoint.tensors
    faults = [f"only the first has the tensor '{name}'" for name in own if name not in its]
    faults += [f"only the second has the tensor '{name}'" for name in its if name not in own]
    return faults + [
        f"tensor '{name}' is {own[name].dtype} {list(own[name].shape)} and {its[name].dtype} {list(its[name].shape)}"
        for name in own
        if name in its and (own[name].dtype, own[name].shape) != (its[name].dtype, its[name].shape)
    ]


def _tokenizer_faults(first: Vocabulary, other: Vocabulary) -> list[str]:
    if first.sha256 == other.sha256:
        return []
    own, its = pieces(first.document), pieces(other.document)
    if len(own) != len(its):
        return [f"their tokenizers have {len(own):,} and {len(its):,} tokens"]
    unlike = [number for number, (left, right) in enumerate(zip(own, its, strict=True)) if left != right]
    if unlike:
        place = unlike[0]
        return [
            f"{len(unlike):,} of {len(own):,} tokens differ, for example {place}: {_short(own[place])} and "
            f"{_short(its[place])}"
        ]
    keys = sorted({*first.document, *other.document} - {*_UNUSED})
    parts = [key for key in keys if first.document.get(key) != other.document.get(key)]
    return [f"their tokenizers differ in {', '.join(parts)}"] if parts else []


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
