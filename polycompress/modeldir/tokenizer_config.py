"""Write ``tokenizer_config.json`` so that every library takes the edited ``tokenizer.json`` as it stands.

Classes such as ``XLMRobertaTokenizer`` rebuild the tokenizer from parts of the file and lose others, and no
class at all makes the libraries guess from the model type. ``PreTrainedTokenizerFast`` is the one class that
transformers 4.57 and 5 both load verbatim; what the original class assumed is written out instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from polycompress.modeldir.axes_table import FAMILIES, base_type
from polycompress.modeldir.tokenizer_classes import (
    GENERIC,
    ROLE_NAMES,
    ROLES,
    SEGMENT_FAMILIES,
    TOKENIZER_CLASSES,
    TokenizerClass,
)

_COPIED = (
    "model_max_length",
    "padding_side",
    "truncation_side",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
    "chat_template",
)
_LISTS = ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens")
_ADDED_FLAGS = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
# Fields that say where files lay, how the tokenizer was built, or repeat what tokenizer.json says.
_SILENT = (
    "added_tokens_decoder", "add_prefix_space", "auto_map", "backend", "files_loaded", "from_slow",
    "is_local",
    "legacy", "local_files_only", "max_len", "max_length", "model_input_names", "name_or_path",
    "pad_to_multiple_of", "pad_token_type_id", "processor_class", "slow_tokenizer_class", "sp_model_kwargs",
    "special_tokens_map_file", "stride", "tokenizer_class", "tokenizer_file", "transformers_version",
    "truncation_strategy", "use_fast", "vocab_file", "vocab_type", "merges_file", "extra_ids", "keep_accents",
    "remove_space", "tokenize_chinese_chars", "strip_accents", "do_lower_case", "do_basic_tokenize",
    "never_split", "trim_offsets", "errors", "use_default_system_prompt", "spaces_between_special_tokens",
    "wordpieces_prefix", "clean_text", "language_codes", "num_madeup_words", "legacy_behaviour", "lang_codes",
)  # fmt: skip
_ADDERS = {"add_bos_token": "bos_token", "add_eos_token": "eos_token"}
_NORMALIZER_FLAGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def remap_tokenizer_config(
    config: Mapping[str, Any] | None,
    document: Mapping[str, Any],
    *,
    model_config: Mapping[str, Any],
    special_tokens_map: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Make the ``tokenizer_config.json`` that belongs to a trimmed ``tokenizer.json``.

    Args:
        config: The source's ``tokenizer_config.json``; None or empty where there is none.
        document: The trimmed ``tokenizer.json``.
        model_config: ``config.json``, for the model type and its number of segments.
        special_tokens_map: The source's ``special_tokens_map.json``. As in the libraries, it overrides
            ``config`` unless that has ``added_tokens_decoder``.

    Returns:
        The configuration, which names ``PreTrainedTokenizerFast``, and notes on what could not be carried
        over.
    """
    source = dict(config or {})
    if special_tokens_map and "added_tokens_decoder" not in source:
        source |= special_tokens_map
    notes: list[str] = []
    defaults, known = _class_of(source, model_config)
    kept = _kept_tokens(document, source, defaults)
    new: dict[str, Any] = {key: source[key] for key in _COPIED if source.get(key) is not None}
    if "model_max_length" not in new and isinstance(source.get("max_len"), int):
        new["model_max_length"] = source["max_len"]
    new.setdefault("padding_side", defaults.padding_side)
    new["model_input_names"] = _input_names(source, defaults, known, model_config)
    new |= _roles(source, defaults, kept, notes)
    new |= _more_tokens(source, kept, notes)
    prefix_space = (document.get("pre_tokenizer") or {}).get("add_prefix_space")
    if isinstance(prefix_space, bool):
        # transformers 4.57 overrides the pre-tokenizer unless this agrees with it.
        new["add_prefix_space"] = prefix_space
    new["added_tokens_decoder"] = {
        str(token["id"]): {key: token[key] for key in _ADDED_FLAGS if key in token}
        for token in document.get("added_tokens") or []
    }
    new["tokenizer_class"] = "PreTrainedTokenizerFast"
    _note_differences(source, document, model_config, set(new), notes)
    return new, notes


def remap_special_tokens_map(
    special_tokens_map: Mapping[str, Any], document: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Drop the entries of ``special_tokens_map.json`` whose token is not kept.

    The file holds strings (or token objects), no ids, so nothing else changes.

    Args:
        special_tokens_map: The source's ``special_tokens_map.json``.
        document: The trimmed ``tokenizer.json``.

    Returns:
        The new map, and notes on dropped entries.
    """
    kept = _kept_tokens(document, special_tokens_map, TokenizerClass())
    new: dict[str, Any] = {}
    notes: list[str] = []
    for key, value in special_tokens_map.items():
        items = value if isinstance(value, list) else [value]
        missing = [str(_text(item)) for item in items if _text(item) not in kept]
        if isinstance(value, list):
            new[key] = [item for item in value if _text(item) in kept]
        elif not missing:
            new[key] = value
        if missing:
            notes.append(f"special_tokens_map.json: {key} {_listed(missing)} not in the vocabulary; dropped")
    return new, notes


def _kept_tokens(
    document: Mapping[str, Any], source: Mapping[str, Any], defaults: TokenizerClass
) -> set[str]:
    """Those of the tokens that could be special that ``tokenizer.json`` has."""
    wanted = {*defaults.tokens.values(), *(token for names in ROLE_NAMES.values() for token in names)}
    for value in source.values():
        values = [value]
        if isinstance(value, list):
            values += value
        elif isinstance(value, Mapping):
            values += value.values()
        wanted |= {text for text in map(_text, values) if text is not None}
    vocab = (document.get("model") or {}).get("vocab") or {}
    tokens = (item[0] for item in vocab) if isinstance(vocab, list) else vocab
    added = (token["content"] for token in document.get("added_tokens") or [])
    return wanted.intersection(tokens) | wanted.intersection(added)


def _class_of(source: Mapping[str, Any], model_config: Mapping[str, Any]) -> tuple[TokenizerClass, bool]:
    """The defaults of the class the libraries would have taken, and whether it is a particular one."""
    family = FAMILIES.get(str(model_config.get("model_type")))
    named = source.get("tokenizer_class") or model_config.get("tokenizer_class")
    name = named if isinstance(named, str) else family.tokenizer if family is not None else GENERIC
    name = name.removesuffix("Fast")
    return TOKENIZER_CLASSES.get(
        name, TOKENIZER_CLASSES[GENERIC]
    ), name in TOKENIZER_CLASSES and name != GENERIC


def _input_names(
    source: Mapping[str, Any], defaults: TokenizerClass, known: bool, model_config: Mapping[str, Any]
) -> list[str]:
    named = source.get("model_input_names")
    if isinstance(named, list) and named and all(isinstance(name, str) for name in named):
        return list(named)
    has_segments = (
        base_type(str(model_config.get("model_type"))) in SEGMENT_FAMILIES
        and model_config.get("type_vocab_size", 2) != 1
    )
    if defaults.segments or (not known and has_segments):
        return ["input_ids", "token_type_ids", "attention_mask"]
    return ["input_ids", "attention_mask"]


def _roles(
    source: Mapping[str, Any], defaults: TokenizerClass, kept: set[str], notes: list[str]
) -> dict[str, str | None]:
    """Role -> token; null where there is none, for Qwen2Tokenizer (always rebuilt) has other defaults."""
    nothing_said = not any(role in source for role in (*ROLES, "tokenizer_class"))
    roles: dict[str, str | None] = {}
    for role in ROLES:
        named = _text(source.get(role))
        if named is not None and named not in kept:
            notes.append(f"tokenizer_config.json: {role} {named!r} is not in the vocabulary; dropped")
        candidates = [named] if role in source else [defaults.tokens.get(role)]
        if nothing_said:
            candidates += ROLE_NAMES[role]
        roles[role] = next((token for token in candidates if token in kept), None)
    return roles


def _more_tokens(source: Mapping[str, Any], kept: set[str], notes: list[str]) -> dict[str, Any]:
    """Further special tokens: a list under the name both libraries read, and a dictionary of named ones.

    transformers 5 writes the list as ``extra_special_tokens``, which 4.57 cannot read; both read
    ``additional_special_tokens``.
    """
    named = {
        key: _text(value)
        for key, value in source.items()
        if key.endswith("_token") and key not in ROLES and _text(value) is not None
    }
    listed: list[str | None] = []
    for key in _LISTS:
        value = source.get(key)
        if isinstance(value, Mapping):
            named |= {name: _text(token) for name, token in value.items()}
        elif isinstance(value, list):
            listed += [_text(token) for token in value if _text(token) not in listed]
    missing = [str(token) for token in (*listed, *named.values()) if token not in kept]
    if missing:
        notes.append(
            f"tokenizer_config.json: special tokens {_listed(missing)} not in the vocabulary; dropped"
        )
    new: dict[str, Any] = {}
    if any(token in kept for token in listed):
        new["additional_special_tokens"] = [token for token in listed if token in kept]
    if any(token in kept for token in named.values()):
        new["extra_special_tokens"] = {name: token for name, token in named.items() if token in kept}
    return new


def _note_differences(
    source: Mapping[str, Any],
    document: Mapping[str, Any],
    model_config: Mapping[str, Any],
    written: set[str],
    notes: list[str],
) -> None:
    """Say where the original class did something that ``tokenizer.json`` alone does not."""
    where = "tokenizer_config.json: "
    if source.get("src_lang") or source.get("tgt_lang") or source.get("lang_codes"):
        notes.append(
            f"{where}src_lang and tgt_lang dropped; switching languages by attribute needs the original "
            "class. tokenizer.json's own post-processor adds the language code it was saved with"
        )
    normalizer = document.get("normalizer") or {}
    for key, flag in _NORMALIZER_FLAGS.items() if normalizer.get("type") == "BertNormalizer" else ():
        if key in source and source[key] != normalizer.get(flag):
            notes.append(
                f"{where}{key} {source[key]!r} disagrees with tokenizer.json's normalizer "
                f"({flag} {normalizer.get(flag)!r}); tokenizer.json is followed"
            )
    for key, role in _ADDERS.items():
        token = _text(source.get(role))
        if source.get(key) is True and token and not _mentions(document.get("post_processor"), token):
            notes.append(f"{where}{key} dropped; tokenizer.json's post-processor adds no {token!r}")
    if base_type(str(model_config.get("model_type"))) == "qwen2" and normalizer.get("type") != "NFC":
        notes.append(
            "transformers 5 rebuilds the tokenizer of every model_type qwen2 with Qwen's normalizer and "
            "pre-tokenizer, whatever tokenizer.json says"
        )
    handled = {*written, *_COPIED, *_LISTS, *ROLES, *_SILENT, *_ADDERS, "src_lang", "tgt_lang"}
    left = [key for key in source if key not in handled and not key.endswith("_token")]
    dropped = sorted(key for key in left if source[key] is not None)
    if dropped:
        notes.append(f"{where}fields not carried over: {_listed(dropped)}")


def _mentions(node: object, token: str) -> bool:
    if isinstance(node, Mapping):
        return token in node or any(_mentions(value, token) for value in node.values())
    if isinstance(node, list):
        return any(_mentions(value, token) for value in node)
    return node == token


def _text(value: object) -> str | None:
    """The text of a special token given as a string or as a token object."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _listed(items: Iterable[str], shown: int = 8) -> str:
    items = list(items)
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(repr(item) for item in items[:shown]) + more
