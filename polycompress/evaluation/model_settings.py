"""What a model's configuration files say about the texts that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.tokenizer_classes import SEGMENT_FAMILIES


def position_limit(model: Any) -> int | None:
    """Tokens that the model has positions for, or None where nothing says so."""
    limit = getattr(model.config, "max_position_embeddings", None) or getattr(
        model.config, "n_positions", None
    )
    if not limit or limit < 0:
        return None
    # RoBERTa's family counts positions from the padding id on.
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return int(limit) - (0 if padding is None else int(padding) + 1)


def text_length(model: Any, asked: int | None, default: int, tokenizer_config: Mapping[str, Any]) -> int:
    """Tokens of a text at most.

    Args:
        model: Of transformers.
        asked: None: ``default``, or less where the model or its tokenizer takes no more.
        default: See there.
        tokenizer_config: ``tokenizer_config.json``.

    Raises:
        InputError: More is asked for than the model has positions for.
    """
    limit = position_limit(model)
    if asked is not None:
        if limit is not None and asked > limit:
            raise InputError(
                f"max_length is {asked}, but the model has positions for {limit} tokens: give at most {limit}."
            )
        return asked
    limits = [default, limit, tokenizer_config.get("model_max_length")]
    return min(int(each) for each in limits if isinstance(each, int) and each > 0)


def uses_segments(config: Any, tokenizer_config: Mapping[str, Any]) -> bool:
    """Whether the model tells the two texts of a pair apart by ``token_type_ids``."""
    named = tokenizer_config.get("model_input_names")
    if isinstance(named, list) and named and "token_type_ids" not in named:
        return False
    return (
        base_type(config.model_type) in SEGMENT_FAMILIES and (getattr(config, "type_vocab_size", 0) or 0) > 1
    )


def padding_id(config: Any, tokenizer: Tokenizer, tokenizer_config: Mapping[str, Any]) -> int:
    """Id of padding: the model's own first, since positions and last tokens are counted from it.

    Where nothing names one it is the end of text, which no text has within: a decoder's head reads the last token that
    is no padding.
    """
    configured = getattr(config, "pad_token_id", None)
    if isinstance(configured, int) and configured >= 0:
        return configured
    token = tokenizer_config.get("pad_token")
    token = token.get("content") if isinstance(token, Mapping) else token
    found = tokenizer.token_to_id(token) if isinstance(token, str) else None
    if found is None:
        found = getattr(config, "eos_token_id", None)
    return found if isinstance(found, int) else 0


def read_prompt(root: Path) -> str:
    """The prompt that the directory names for texts of which nothing else is known."""
    settings = read_json(root, "config_sentence_transformers.json", required=False) or {}
    prompts = settings.get("prompts")
    if not isinstance(prompts, Mapping):
        return ""
    named = settings.get("default_prompt_name") or "query"
    prompt = prompts.get(named)
    return prompt if isinstance(prompt, str) else ""
