"""Let the Auto classes of transformers load models with experts: one configuration and its models for each family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress import auto_classes
from polycompress.modeldir.axes_table import MOE_BASES, moe_type
from polycompress.moe.config import FIELD
from polycompress.moe.models import Moe

VARIANT: Final = auto_classes.Variant(
    prefix="Moe",
    mixin=Moe,
    type_of=moe_type,
    field=FIELD,
    field_type=dict[str, Any],
    what="with language-family experts",
    older=(
        "models with language-family experts need transformers 5, and {version} is installed. Upgrade it, or take one "
        "family to it with: polycompress moe extract DIR --family NAME --out PLAIN"
    ),
)
TYPES: Final = MOE_BASES
"""Plain families that can have experts."""


def register(model_type: str) -> Mapping[str, type[Any]]:
    """Make and register the classes of one family.

    Args:
        model_type: Of the plain one, such as ``xlm-roberta``.

    Returns:
        The models' classes by name, such as ``MoeXLMRobertaForMaskedLM``.

    Raises:
        InputError: The installed transformers is older than version 5.
    """
    return auto_classes.register(VARIANT, model_type)
