"""Open a model that gets experts, or one that has them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type, is_factorised, is_moe
from polycompress.moe.config import FIELD, MoeConfig
from polycompress.moe.places import count_layers, place_of
from polycompress.pipelines.trimming.loading import OpenModel, naming, open_model


def open_plain(model: str | os.PathLike[str]) -> OpenModel:
    """Open a model without experts and with a plain table.

    Raises:
        InputError: It has experts already or a factorised table, or is missing, damaged or of an unknown type.
    """
    opened = open_model(model)
    root, kind = opened.source.path, str(opened.config["model_type"])
    if is_moe(kind):
        raise InputError(
            f"{root}: has experts already (model_type {kind!r}). Give the plain model that it was made of, or take one "
            f"family's out of it: polycompress moe extract {root} --family NAME --out PLAIN"
        )
    if is_factorised(kind):
        raise InputError(
            f"{root}: its table is factorised (model_type {kind!r}), and models with experts have plain ones. Write "
            f"the table out first: polycompress ofa export {root} --dense --out PLAIN"
        )
    with naming(root):
        place_of(kind)
    return opened


def open_moe(model: str | os.PathLike[str]) -> tuple[OpenModel, MoeConfig]:
    """Open a model with experts.

    Raises:
        InputError: It has none, or its configuration or weights are wrong.
    """
    opened = open_model(model)
    return opened, experts_of(opened.config, opened.source.path)


def experts_of(config: Mapping[str, Any], root: Path) -> MoeConfig:
    """What a model's configuration says of its experts.

    Args:
        config: ``config.json``.
        root: The model directory, for messages.

    Raises:
        InputError: It has none, or says it wrongly.
    """
    kind = str(config.get("model_type"))
    if not is_moe(kind):
        raise InputError(
            f"{root}: has no experts (model_type {kind!r}). Give it some: polycompress moe upcycle {root} --langs "
            "CODES --out MOE"
        )
    with naming(root):
        layers = count_layers(config, place_of(base_type(kind)))
        return MoeConfig.from_dict(
            config.get(FIELD), model_layers=layers, where=f"{root / 'config.json'}: {FIELD}"
        )
