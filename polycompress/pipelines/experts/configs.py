"""``config.json`` of a model with experts, and of the plain model again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polycompress.modeldir.axes_table import base_type, moe_type
from polycompress.moe.config import FIELD, MoeConfig
from polycompress.pipelines.trimming.loading import architectures

CLASS_PREFIX: Final = "Moe"
"""Of the classes that ``polycompress.auto`` makes."""


def expert_config(config: Mapping[str, Any], moe: MoeConfig) -> dict[str, Any]:
    """A configuration of the same model with experts: every field kept."""
    names = architectures(config)
    return {
        **{key: value for key, value in config.items() if key != "auto_map"},
        **({"architectures": [CLASS_PREFIX + name for name in names]} if names else {}),
        "model_type": moe_type(str(config["model_type"])),
        FIELD: moe.as_dict(),
    }


def dense_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of the same model with one plain network in each layer."""
    names = architectures(config)
    return {
        **{key: value for key, value in config.items() if key not in ("auto_map", FIELD)},
        **({"architectures": [name.removeprefix(CLASS_PREFIX) for name in names]} if names else {}),
        "model_type": base_type(str(config["model_type"])),
    }
