"""The configuration files of a model with other tokens: every id translated, every size its new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from polycompress.embeddings.initialising.plans import RowsPlan, Rule
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.ids import remap_config, remap_generation_config, remap_tokenizer_config
from polycompress.pipelines.initialising.checking import check_positions
from polycompress.pipelines.initialising.target import Target
from polycompress.pipelines.initialising.tokens_plan import TokensPlan
from polycompress.pipelines.trimming.loading import OpenModel, naming

_OF_THE_MODEL: Final = (
    "model_input_names",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "chat_template",
)
"""Settings of a tokenizer that are the model's, so that another tokenizer takes them over."""
_STANDING_FOR: Final = (Rule.KEPT, Rule.ROLE, Rule.EXACT)
"""Rules by which a token means what its source means, the better ones first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configs:
    """Files of settings, to be written."""

    config: Mapping[str, Any]
    generation: Mapping[str, Any] | None
    tokenizer: Mapping[str, Any]
    notes: tuple[str, ...]
    """What could not be carried over."""


def new_configs(opened: OpenModel, target: Target, plan: TokensPlan) -> Configs:
    """Translate a model's configuration files to its new tokens.

    Args:
        opened: The source.
        target: The new tokenizer.
        plan: What its tokens are made of.

    Raises:
        InputError: The model's positions hang on an id that changes.
    """
    root = opened.source.path
    mapping = standing_for(plan.rows)
    check_positions(opened, mapping)
    with naming(root):
        config, notes = remap_config(opened.config, mapping, plan.size)
        generation = read_json(root, "generation_config.json", required=False)
        if generation is not None:
            generation, more = remap_generation_config(generation, mapping)
            notes += more
        own, _ = remap_tokenizer_config(
            read_json(root, "tokenizer_config.json", required=False),
            opened.vocabulary.document,
            model_config=opened.config,
            special_tokens_map=read_json(root, "special_tokens_map.json", required=False),
        )
    with naming(target.root):
        tokenizer, more = remap_tokenizer_config(
            read_json(target.root, "tokenizer_config.json", required=False),
            target.document,
            model_config=opened.config if target.root == root else {},
            special_tokens_map=read_json(target.root, "special_tokens_map.json", required=False),
        )
    tokenizer |= {key: own[key] for key in _OF_THE_MODEL if key in own}
    return Configs(config=config, generation=generation, tokenizer=tokenizer, notes=(*notes, *more))


def standing_for(plan: RowsPlan) -> dict[int, int]:
    """Which new token stands for each source token that has one: kept, of the same role, or of the same form."""
    mapping: dict[int, int] = {}
    for rule in _STANDING_FOR:
        for number in np.flatnonzero(plan.rule == rule).tolist():
            mapping.setdefault(int(plan.sources[number, 0]), number)
    return mapping
