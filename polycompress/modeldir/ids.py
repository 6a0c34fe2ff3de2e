"""Carry the token ids of the configuration files over to a trimmed vocabulary.

The functions are pure: they return a new dictionary and notes (plain sentences) on whatever could not be
kept.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import FAMILIES
from polycompress.modeldir.tokenizer_config import remap_special_tokens_map, remap_tokenizer_config

__all__ = [
    "remap_config",
    "remap_generation_config",
    "remap_special_tokens_map",
    "remap_tokenizer_config",
    "required_ids",
]

_ID_SUFFIXES = ("_token_id", "_token_ids", "_token_index")
_ID_LISTS = ("suppress_tokens", "begin_suppress_tokens")
_SEQUENCES = ("bad_words_ids", "force_words_ids")
_NAME_MAPS = ("lang_to_id", "lang_code_to_id", "task_to_id")
_SIZES = ("vocab_size", "decoder_vocab_size")
_OPAQUE = ("id2label", "label2id", "quantization_config", "rope_scaling", "rope_parameters")
_DEPTH = 16


class _Lost(Exception):
    """An id that the trimmed vocabulary does not have."""


def remap_config(
    config: Mapping[str, Any], old_to_new: Mapping[int, int], rows: int
) -> tuple[dict[str, Any], list[str]]:
    """Rewrite ``config.json`` for a trimmed vocabulary.

    Token ids are found by name at any depth (``text_config``, ``encoder``, ``task_specific_params``, ...).
    Ids that ``config.json`` leaves to the defaults of its configuration class are written out where the
    default would now mean another token. References to code (``auto_map``) are dropped, for no code is
    copied.

    Args:
        config: The source's ``config.json``.
        old_to_new: New id of every kept id.
        rows: Rows of the trimmed embedding table, padding included.

    Returns:
        The new configuration, and notes on ids that were dropped.

    Raises:
        InputError: The family computes positions from ``pad_token_id`` and the map would change that id; keep
            the ids that :func:`required_ids` names.
        ValueError: The map leads outside the trimmed table.
    """
    _check_map(old_to_new, rows)
    notes: list[str] = []
    new: dict[str, Any] = _walk(copy.deepcopy(dict(config)), old_to_new, "config.json", notes, 0)
    if new.pop("auto_map", None) is not None:
        notes.append("config.json: auto_map dropped, since no code is copied")
    _set_sizes(new, config.get("vocab_size"), rows)
    for name, part in (("config.json", new), ("config.json text_config", new.get("text_config"))):
        if isinstance(part, dict):
            _write_defaults(part, config, old_to_new, name, notes)
    _check_positions(config, new)
    return new, notes


def remap_generation_config(
    config: Mapping[str, Any], old_to_new: Mapping[int, int]
) -> tuple[dict[str, Any], list[str]]:
    """Rewrite ``generation_config.json`` for a trimmed vocabulary.

    Sequences with an id that is gone (bad words, forced words, biases) are dropped: they cannot occur any
    more.

    Args:
        config: The source's ``generation_config.json``.
        old_to_new: New id of every kept id.

    Returns:
        The new configuration, and notes on ids that were dropped.
    """
    notes: list[str] = []
    new: dict[str, Any] = _walk(copy.deepcopy(dict(config)), old_to_new, "generation_config.json", notes, 0)
    return new, notes


def required_ids(config: Mapping[str, Any], rows: int) -> dict[int, str]:
    """Say which ids a trimmed vocabulary must keep for the configuration to go on meaning the same.

    These are the single ids and the end-of-text lists that ``config.json`` (or ``generation_config.json``)
    names, the defaults of the configuration class, and, for families whose first position is ``pad_token_id +
    1`` (RoBERTa, XLM-R, MPNet, M2M100, XGLM), every id up to the padding id, because that number must not
    change.

    Args:
        config: A ``config.json`` or ``generation_config.json``.
        rows: Rows of the source's table; ids outside it are left out.

    Returns:
        Id -> the field that needs it.
    """
    named: dict[int, str] = {}
    _collect(config, "", named, 0)
    family = FAMILIES.get(str(config.get("model_type")))
    if family is not None:
        for key, value in family.token_ids.items():
            if key not in config:
                named.setdefault(value, f"{key} (class default)")
        if family.pad_offsets_positions:
            pad = config.get("pad_token_id", family.token_ids["pad_token_id"])
            for value in range(pad + 1 if _is_id(pad) and pad < rows else 0):
                named.setdefault(value, "positions start after pad_token_id")
    return {value: key for value, key in sorted(named.items()) if 0 <= value < rows}


def _check_map(old_to_new: Mapping[int, int], rows: int) -> None:
    highest = max(old_to_new.values(), default=-1)
    if highest >= rows:
        raise ValueError(f"old_to_new leads to id {highest}, but the trimmed table has {rows} rows")


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _collect(node: Mapping[str, Any], path: str, named: dict[int, str], depth: int) -> None:
    for key, value in node.items():
        if isinstance(value, Mapping) and key not in (*_OPAQUE, *_NAME_MAPS) and depth < _DEPTH:
            _collect(value, f"{path}{key}.", named, depth + 1)
        elif key.endswith(_ID_SUFFIXES):
            for item in value if isinstance(value, list) else [value]:
                if _is_id(item):
                    named.setdefault(item, path + key)


def _walk(
    node: dict[str, Any], old_to_new: Mapping[int, int], where: str, notes: list[str], depth: int
) -> dict[str, Any]:
    if depth > _DEPTH:
        raise InputError(f"{where} is nested more than {_DEPTH} levels deep; that is no model configuration.")
    for key, value in node.items():
        place = f"{where}: {key}"
        if key in _NAME_MAPS and isinstance(value, dict):
            node[key] = _kept_names(value, old_to_new, place, notes)
        elif key in _ID_LISTS and isinstance(value, list):
            node[key] = _kept_items(value, old_to_new, place, notes)
        elif key in _SEQUENCES and isinstance(value, list):
            node[key] = _kept_items(value, old_to_new, place, notes) or None
        elif key == "forced_decoder_ids" and isinstance(value, list):
            node[key] = _kept_pairs(value, old_to_new, place, notes, id_at=1)
        elif key == "sequence_bias" and value is not None:
            node[key] = _kept_biases(value, old_to_new, place, notes)
        elif key.endswith(_ID_SUFFIXES):
            node[key] = _token_id(value, old_to_new, place, notes)
        elif isinstance(value, dict) and key not in _OPAQUE:
            node[key] = _walk(value, old_to_new, f"{where} {key}", notes, depth + 1)
    return node


def _token_id(value: Any, old_to_new: Mapping[int, int], place: str, notes: list[str]) -> Any:
    if isinstance(value, dict):
        return _kept_names(value, old_to_new, place, notes)
    if isinstance(value, list):
        return _kept_items(value, old_to_new, place, notes) or None
    try:
        return _mapped(value, old_to_new)
    except _Lost:
        notes.append(f"{place} {value} is not in the trimmed vocabulary; set to null")
        return None


def _mapped(value: Any, old_to_new: Mapping[int, int]) -> Any:
    """Map ids inside nested lists; negative numbers (which mean "none") and other values stay."""
    if isinstance(value, list):
        return [_mapped(item, old_to_new) for item in value]
    if not _is_id(value) or value < 0:
        return value
    if value not in old_to_new:
        raise _Lost
    return int(old_to_new[value])


def _kept_items(value: list[Any], old_to_new: Mapping[int, int], place: str, notes: list[str]) -> list[Any]:
    kept = []
    for item in value:
        try:
            kept.append(_mapped(item, old_to_new))
        except _Lost:
            continue
    if len(kept) < len(value):
        notes.append(f"{place}: {len(value) - len(kept)} of {len(value)} entries dropped with their tokens")
    return kept


def _kept_names(
    value: dict[str, Any], old_to_new: Mapping[int, int], place: str, notes: list[str]
) -> dict[str, Any]:
    kept = {name: item for name, item in value.items() if not _is_id(item) or item < 0 or item in old_to_new}
    kept = {name: _mapped(item, old_to_new) if _is_id(item) else item for name, item in kept.items()}
    if len(kept) < len(value):
        notes.append(f"{place}: {len(value) - len(kept)} of {len(value)} entries dropped with their tokens")
    return kept


def _kept_pairs(
    value: list[Any], old_to_new: Mapping[int, int], place: str, notes: list[str], *, id_at: int
) -> list[Any] | None:
    """Map one place of each ``[position, id]`` or ``[[ids], bias]`` pair."""
    kept = []
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            raise InputError(f"{place} holds {item!r}; expected pairs.")
        try:
            ids = _mapped(item[id_at], old_to_new)
        except _Lost:
            continue
        kept.append([item[0], ids] if id_at else [ids, item[1]])
    if len(kept) < len(value):
        notes.append(f"{place}: {len(value) - len(kept)} of {len(value)} entries dropped with their tokens")
    return kept or None


def _kept_biases(value: Any, old_to_new: Mapping[int, int], place: str, notes: list[str]) -> list[Any] | None:
    if not isinstance(value, list):
        notes.append(f"{place} is not in the form [[ids], bias]; dropped")
        return None
    return _kept_pairs(value, old_to_new, place, notes, id_at=0)


def _set_sizes(new: dict[str, Any], old_size: Any, rows: int) -> None:
    text = new.get("text_config")
    holder = text if "vocab_size" not in new and isinstance(text, dict) else new
    old_size = holder.get("vocab_size", old_size)
    holder["vocab_size"] = rows
    _replace_sizes(new, old_size, rows, 0)


def _replace_sizes(node: dict[str, Any], old_size: Any, rows: int, depth: int) -> None:
    for key, value in node.items():
        if key in _SIZES and value == old_size:
            node[key] = rows
        elif isinstance(value, dict) and key not in _OPAQUE and depth < _DEPTH:
            _replace_sizes(value, old_size, rows, depth + 1)


def _write_defaults(
    part: dict[str, Any],
    source: Mapping[str, Any],
    old_to_new: Mapping[int, int],
    where: str,
    notes: list[str],
) -> None:
    family = FAMILIES.get(str(part.get("model_type")))
    size = source.get("vocab_size")
    for key, value in family.token_ids.items() if family is not None else ():
        # A default beyond the source's table never meant a token, and still means none.
        beyond = isinstance(size, int) and value >= size
        if key not in part and not beyond and old_to_new.get(value) != value:
            part[key] = _token_id(value, old_to_new, f"{where}: {key} (class default)", notes)


def _check_positions(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    family = FAMILIES.get(str(old.get("model_type")))
    if family is None or not family.pad_offsets_positions:
        return
    default = family.token_ids["pad_token_id"]
    before, after = old.get("pad_token_id", default), new.get("pad_token_id", default)
    if before != after:
        raise InputError(
            f"pad_token_id would change from {before} to {after}, and with it the position of every token: "
            f"model_type {old['model_type']!r} counts positions from pad_token_id + 1. "
            f"Keep all token ids from 0 to {before}."
        )
