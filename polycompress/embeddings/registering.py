"""Let the Auto classes of transformers load factorised models: one configuration and its models for each family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress import auto_classes
from polycompress.embeddings.models import RANK_FIELD, Factorised
from polycompress.modeldir.axes_table import FAMILIES, base_type, factorised_type

VARIANT: Final = auto_classes.Variant(
    prefix="Factorised",
    mixin=Factorised,
    type_of=factorised_type,
    field=RANK_FIELD,
    field_type=int,
    what="with a factorised table",
    older=(
        "factorised models need transformers 5, and {version} is installed. Upgrade it, or take the model to it with: "
        "polycompress ofa export DIR --dense --out PLAIN"
    ),
)
TYPES: Final = tuple(name for name in FAMILIES if base_type(name) == name)
"""Plain families that can have a factorised table."""


def register(model_type: str) -> Mapping[str, type[Any]]:
    """Make and register the classes of one family.

    Args:
        model_type: Of the plain one, such as ``xlm-roberta``.

    Returns:
        The models' classes by name, such as ``FactorisedXLMRobertaForMaskedLM``.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    return auto_classes.register(VARIANT, model_type)
