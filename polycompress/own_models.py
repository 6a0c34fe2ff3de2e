"""Models of our own classes: those with a factorised table, those with language-family experts.

The Auto classes of transformers load them once their family is registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polycompress.auto_classes import Variant, check_known, is_known, register
from polycompress.embeddings import registering as factorised
from polycompress.modeldir.axes_table import base_type, is_factorised, is_moe
from polycompress.moe import registering as moe


def register_all() -> None:
    """Register every family that the installed transformers knows, in each of our variants.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    for variant, types in ((factorised.VARIANT, factorised.TYPES), (moe.VARIANT, moe.TYPES)):
        for model_type in filter(is_known, types):
            register(variant, model_type)


def register_for(config: Mapping[str, Any]) -> Mapping[str, type[Any]]:
    """Register the family of a ``config.json``, if it is one of ours; else nothing is done.

    Returns:
        The models' classes by name; none of a plain family.

    Raises:
        InputError: The installed transformers is older than version 5, or does not know the family.
    """
    model_type = config.get("model_type")
    variant = _variant_of(model_type) if isinstance(model_type, str) else None
    if variant is None or not isinstance(model_type, str):
        return {}
    plain = base_type(model_type)
    check_known(plain, model_type)
    return register(variant, plain)


def model_class(name: str, config: Mapping[str, Any]) -> type[Any] | None:
    """The class that a configuration names among its ``architectures``; None: neither transformers nor we have it.

    Args:
        name: Such as ``XLMRobertaForMaskedLM`` or ``FactorisedXLMRobertaForMaskedLM``.
        config: ``config.json``; its family is registered if it is one of ours.
    """
    import transformers

    if classes := register_for(config):
        return classes.get(name)
    found = getattr(transformers, name, None)
    return found if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) else None


def _variant_of(model_type: str) -> Variant | None:
    if is_factorised(model_type):
        return factorised.VARIANT
    return moe.VARIANT if is_moe(model_type) else None
