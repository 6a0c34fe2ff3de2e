"""Which tensors of which architecture carry the vocabulary: one explicit table per ``model_type``.

Names were read off the files that transformers 4.57 and 5.23 write for every head class, tied and untied,
plus the redundant copies that files converted from ``pytorch_model.bin`` may hold. Patterns are shell-style
(``fnmatch``). Names under ``tables``, ``positions``, ``layers``, ``other`` and ``buffers`` are relative to
one of ``bases``; names under ``heads``, ``biases`` and ``tasks`` are absolute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What is known about the checkpoints of one ``model_type``."""

    bases: tuple[str, ...]
    """Prefixes under which the base model may sit in the file."""
    tables: tuple[str, ...]
    """Input tables (V, d); the first one present is the input embedding, the rest are its copies."""
    primitives: tuple[str, ...] = ()
    """Of factorised tables, whose ``tables`` are coordinates (V, r): the rows (r, d) that these are over."""
    heads: tuple[str, ...] = ()
    """Output tables (V, d) that only exist where the head is not tied, or as redundant copies."""
    biases: tuple[str, ...] = ()
    """Output biases, (V,) or, for ``final_logits_bias``, (1, V)."""
    positions: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    """Tensors of heads that do not carry the vocabulary."""
    other: tuple[str, ...] = ()
    buffers: tuple[str, ...] = ()
    """Constants that some versions stored; not parameters."""
    token_ids: Mapping[str, int] = field(default_factory=dict)
    """Token ids of the configuration class, used by the libraries where ``config.json`` leaves them out."""
    pad_offsets_positions: bool = False
    """True where the position of the first token is ``pad_token_id + 1``: that id must not change."""
    tokenizer: str = "PreTrainedTokenizer"
    """Tokenizer class that the libraries take where ``tokenizer_config.json`` names none."""


_TASKS = ("classifier.*", "qa_outputs.*", "score.*", "pooler.*", "classification_head.*", "pre_classifier.*")
_ROPE = ("*rotary_emb*.inv_freq", "*rotary_emb*original_inv_freq", "*inv_freq")
_FAIRSEQ_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}

_BERT = Family(
    bases=("bert.", ""),
    tables=("embeddings.word_embeddings.weight",),
    heads=("cls.predictions.decoder.weight",),
    biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
    positions=("embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"),
    layers=("encoder.*",),
    tasks=("cls.predictions.transform.*", "cls.seq_relationship.*", *_TASKS),
    other=("embeddings.LayerNorm.*", "pooler.*"),
    buffers=("embeddings.position_ids", "embeddings.token_type_ids"),
    token_ids={"pad_token_id": 0},
    tokenizer="BertTokenizer",
)
_ROBERTA = replace(
    _BERT,
    bases=("roberta.", ""),
    heads=("lm_head.decoder.weight",),
    biases=("lm_head.bias", "lm_head.decoder.bias"),
    tasks=("lm_head.dense.*", "lm_head.layer_norm.*", *_TASKS),
    token_ids=_FAIRSEQ_IDS,
    pad_offsets_positions=True,
    tokenizer="RobertaTokenizer",
)
_MPNET = replace(
    _ROBERTA,
    bases=("mpnet.", ""),
    tokenizer="MPNetTokenizer",
)
_DISTILBERT = replace(
    _BERT,
    bases=("distilbert.", ""),
    heads=("vocab_projector.weight",),
    biases=("vocab_projector.bias",),
    layers=("transformer.*",),
    tasks=("vocab_transform.*", "vocab_layer_norm.*", *_TASKS),
    tokenizer="DistilBertTokenizer",
)
_ELECTRA = replace(
    _BERT,
    bases=("electra.", ""),
    heads=("generator_lm_head.weight",),
    biases=("generator_lm_head.bias",),
    tasks=("generator_predictions.*", "discriminator_predictions.*", *_TASKS),
    other=("embeddings.LayerNorm.*", "embeddings_project.*"),
    tokenizer="ElectraTokenizer",
)
_ALBERT = replace(
    _BERT,
    bases=("albert.", ""),
    heads=("predictions.decoder.weight",),
    biases=("predictions.bias", "predictions.decoder.bias"),
    tasks=("predictions.LayerNorm.*", "predictions.dense.*", "sop_classifier.*", *_TASKS),
    token_ids={"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    tokenizer="AlbertTokenizer",
)
_DEBERTA = replace(
    _BERT,
    bases=("deberta.", ""),
    heads=("cls.predictions.decoder.weight", "lm_predictions.lm_head.weight"),
    biases=("cls.predictions.bias", "cls.predictions.decoder.bias", "lm_predictions.lm_head.bias"),
    tasks=(
        "cls.predictions.transform.*",
        "lm_predictions.lm_head.dense.*",
        "lm_predictions.lm_head.LayerNorm.*",
        "mask_predictions.*",
        *_TASKS,
    ),
    other=("embeddings.LayerNorm.*", "embeddings.embed_proj.weight", "pooler.*"),
    tokenizer="DebertaTokenizer",
)
_REMBERT = replace(
    _BERT,
    bases=("rembert.", ""),
    biases=("cls.predictions.decoder.bias", "cls.predictions.bias"),
    tasks=("cls.predictions.dense.*", "cls.predictions.LayerNorm.*", *_TASKS),
    token_ids={"pad_token_id": 0, "bos_token_id": 312, "eos_token_id": 313},
    tokenizer="RemBertTokenizer",
)
_MODERNBERT = Family(
    bases=("model.", ""),
    tables=("embeddings.tok_embeddings.weight",),
    heads=("decoder.weight",),
    biases=("decoder.bias",),
    layers=("layers.*",),
    tasks=("head.*", *_TASKS),
    other=("embeddings.norm.*", "final_norm.*"),
    buffers=_ROPE,
    token_ids={
        "pad_token_id": 50283,
        "eos_token_id": 50282,
        "bos_token_id": 50281,
        "cls_token_id": 50281,
        "sep_token_id": 50282,
    },
)

_T5 = Family(
    bases=("", "transformer."),
    tables=("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
    heads=("lm_head.weight",),
    layers=("encoder.block.*", "decoder.block.*"),
    tasks=_TASKS,
    other=("encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight"),
    token_ids={"pad_token_id": 0, "eos_token_id": 1},
    tokenizer="T5Tokenizer",
)
_MT5 = replace(_T5, token_ids={"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0})
_BART = Family(
    bases=("model.", ""),
    tables=("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
    heads=("lm_head.weight",),
    biases=("final_logits_bias",),
    positions=("encoder.embed_positions.weight", "decoder.embed_positions.weight"),
    layers=("encoder.layers.*", "decoder.layers.*"),
    tasks=_TASKS,
    other=("encoder.layer*norm*", "decoder.layer*norm*"),
    # Sinusoidal tables, computed by the library.
    buffers=("encoder.embed_positions.weights", "decoder.embed_positions.weights"),
    token_ids={**_FAIRSEQ_IDS, "decoder_start_token_id": 2, "forced_eos_token_id": 2},
    tokenizer="BartTokenizer",
)
_MBART = replace(_BART, token_ids={**_FAIRSEQ_IDS, "forced_eos_token_id": 2}, tokenizer="MBartTokenizer")
_M2M = replace(
    _BART,
    biases=(),
    token_ids={**_FAIRSEQ_IDS, "decoder_start_token_id": 2},
    pad_offsets_positions=True,
    tokenizer="M2M100Tokenizer",
)
_MARIAN = replace(
    _BART,
    token_ids={
        "pad_token_id": 58100,
        "decoder_start_token_id": 58100,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
    },
    tokenizer="MarianTokenizer",
)

_GPT2 = Family(
    bases=("transformer.", ""),
    tables=("wte.weight",),
    heads=("lm_head.weight",),
    positions=("wpe.weight",),
    layers=("h.*",),
    tasks=_TASKS,
    other=("ln_f.*",),
    buffers=(
        "h.*.attn.bias",
        "h.*.attn.masked_bias",
        "h.*.attn.attention.bias",
        "h.*.attn.attention.masked_bias",
    ),
    token_ids={"bos_token_id": 50256, "eos_token_id": 50256},
    tokenizer="GPT2Tokenizer",
)
_BLOOM = Family(
    bases=("transformer.", ""),
    tables=("word_embeddings.weight",),
    heads=("lm_head.weight",),
    layers=("h.*",),
    tasks=_TASKS,
    other=("word_embeddings_layernorm.*", "ln_f.*"),
    token_ids={"bos_token_id": 1, "eos_token_id": 2},
    tokenizer="BloomTokenizer",
)
_NEOX = Family(
    bases=("gpt_neox.", ""),
    tables=("embed_in.weight",),
    heads=("embed_out.weight", "lm_head.weight"),
    layers=("layers.*",),
    tasks=_TASKS,
    other=("final_layer_norm.*",),
    buffers=("layers.*.attention.bias", "layers.*.attention.masked_bias", *_ROPE),
    token_ids={"bos_token_id": 0, "eos_token_id": 2},
    tokenizer="GPTNeoXTokenizer",
)
_OPT = Family(
    bases=("model.", ""),
    tables=("decoder.embed_tokens.weight",),
    heads=("lm_head.weight",),
    positions=("decoder.embed_positions.weight",),
    layers=("decoder.layers.*",),
    tasks=_TASKS,
    other=("decoder.final_layer_norm.*", "decoder.project_in.*", "decoder.project_out.*"),
    token_ids={"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2},
    tokenizer="GPT2Tokenizer",
)
_XGLM = Family(
    bases=("model.", ""),
    tables=("embed_tokens.weight",),
    heads=("lm_head.weight",),
    layers=("layers.*",),
    tasks=_TASKS,
    other=("layer_norm.*",),
    buffers=("embed_positions.weights",),
    token_ids={**_FAIRSEQ_IDS, "decoder_start_token_id": 2},
    # The sinusoidal row number pad_token_id is set to zero, so another id would silence another position.
    pad_offsets_positions=True,
    tokenizer="XGLMTokenizer",
)
_LLAMA = Family(
    bases=("model.", "transformer.", ""),
    tables=("embed_tokens.weight",),
    heads=("lm_head.weight",),
    layers=("layers.*",),
    tasks=_TASKS,
    other=("norm.*",),
    buffers=_ROPE,
    token_ids={"bos_token_id": 1, "eos_token_id": 2},
    tokenizer="LlamaTokenizer",
)
_QWEN = replace(_LLAMA, token_ids={}, tokenizer="Qwen2Tokenizer")
_GEMMA = replace(
    _LLAMA, token_ids={"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}, tokenizer="GemmaTokenizer"
)

_PLAIN: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": replace(_ROBERTA, tokenizer="XLMRobertaTokenizer"),
    "xlm-roberta-xl": replace(_ROBERTA, tokenizer="XLMRobertaTokenizer"),
    "camembert": replace(_ROBERTA, tokenizer="CamembertTokenizer"),
    "distilbert": _DISTILBERT,
    "electra": _ELECTRA,
    "albert": _ALBERT,
    "deberta": _DEBERTA,
    "deberta-v2": replace(_DEBERTA, tokenizer="DebertaV2Tokenizer"),
    "rembert": _REMBERT,
    "modernbert": _MODERNBERT,
    "mpnet": _MPNET,
    "t5": _T5,
    "mt5": _MT5,
    "umt5": _MT5,
    "bart": _BART,
    "mbart": _MBART,
    "m2m_100": _M2M,
    "nllb-moe": replace(_M2M, tokenizer="NllbTokenizer"),
    "marian": _MARIAN,
    "gpt2": _GPT2,
    "gpt_neo": _GPT2,
    "bloom": _BLOOM,
    "gpt_neox": _NEOX,
    "opt": _OPT,
    "xglm": _XGLM,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _LLAMA,
    "granite": _LLAMA,
    "olmo2": replace(
        _LLAMA, token_ids={"pad_token_id": 1, "eos_token_id": 50279}, tokenizer="GPTNeoXTokenizer"
    ),
    "smollm3": replace(
        _LLAMA,
        token_ids={"pad_token_id": 128004, "bos_token_id": 128000, "eos_token_id": 128001},
        tokenizer="PreTrainedTokenizer",
    ),
    "phi": replace(_LLAMA, biases=("lm_head.bias",), other=("final_layernorm.*",), tokenizer="GPT2Tokenizer"),
    "phi3": replace(_LLAMA, token_ids={"bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000}),
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "qwen3_moe": _QWEN,
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "cohere": replace(
        _LLAMA,
        token_ids={"pad_token_id": 0, "bos_token_id": 5, "eos_token_id": 255001},
        tokenizer="CohereTokenizer",
    ),
}

FACTORISED: Final = "factorised-"
"""Before the ``model_type`` of a model whose table is factorised."""
MOE: Final = "moe-"
"""Before the ``model_type`` of a model with language-family experts."""
MOE_BASES: Final = ("bert", "roberta", "xlm-roberta", "camembert", "llama", "mistral", "qwen2", "qwen3")
"""Plain models that can have experts; their checkpoints keep them among the layers."""


def is_factorised(model_type: str) -> bool:
    """Whether a ``model_type`` is that of models with a factorised table."""
    return model_type.startswith(FACTORISED)


def is_moe(model_type: str) -> bool:
    """Whether a ``model_type`` is that of models with language-family experts."""
    return model_type.startswith(MOE)


def base_type(model_type: str) -> str:
    """The ``model_type`` of the same models with a plain table and plain layers."""
    return model_type.removeprefix(FACTORISED).removeprefix(MOE)


def factorised_type(model_type: str) -> str:
    """The ``model_type`` of the same models with a factorised table."""
    return FACTORISED + model_type.removeprefix(FACTORISED)


def moe_type(model_type: str) -> str:
    """The ``model_type`` of the same models with language-family experts."""
    return MOE + model_type.removeprefix(MOE)


def coordinates_name(table: str) -> str:
    """Where the coordinates of a table are stored."""
    return f"{table.removesuffix('.weight')}.coordinates"


def primitives_name(table: str) -> str:
    """Where the primitive embeddings of a table, or of its coordinates, are stored."""
    return f"{table.removesuffix('.weight').removesuffix('.coordinates')}.primitives"


def _factorised(family: Family) -> Family:
    return replace(
        family,
        tables=tuple(map(coordinates_name, family.tables)),
        primitives=tuple(map(primitives_name, family.tables)),
    )


FAMILIES: Mapping[str, Family] = {
    **_PLAIN,
    **{factorised_type(name): _factorised(family) for name, family in _PLAIN.items()},
    **{moe_type(name): _PLAIN[name] for name in MOE_BASES},
}
