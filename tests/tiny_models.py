"""Complete tiny Hugging Face directories, made on the spot: random weights, a freshly trained tokenizer.

``make_tiny("xlm-roberta", "mlm", path)`` writes config.json, model.safetensors, tokenizer.json and
tokenizer_config.json (and generation_config.json where the library writes one).
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer, WordPieceTrainer

TEXTS = (
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Heute ist das Wetter schön, und morgen wird es regnen.",
    "The quick brown fox jumps over the lazy dog near the river.",
    "She sells 12 sea shells for 3.50 euros by the sea shore!",
    "Le petit prince habitait une planète à peine plus grande que lui.",
    "Où est la bibliothèque ? Elle est à côté de l'école.",
    "El perro come una manzana roja en el jardín de la casa.",
    "Türkiye'nin başkenti Ankara'dır ve en büyük şehri İstanbul'dur.",
    "Москва является столицей России и самым большим городом.",
    "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας.",
    "北京是中国的首都，上海是最大的城市。",
    "東京は日本の首都です。とても大きい町です。",
    "القاهرة هي عاصمة مصر وأكبر مدنها.",
    "दिल्ली भारत की राजधानी है और बहुत बड़ा शहर है।",
    "Nairobi ni mji mkuu wa Kenya na jiji kubwa zaidi.",
    "Hà Nội là thủ đô của Việt Nam.",
)
"""Sixteen sentences in as many languages or scripts: what the tokenizers are trained on."""

HEADS: Mapping[str, str] = {
    "base": "AutoModel",
    "mlm": "AutoModelForMaskedLM",
    "clm": "AutoModelForCausalLM",
    "s2s": "AutoModelForSeq2SeqLM",
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
    "pretraining": "AutoModelForPreTraining",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a tiny model of one ``model_type``."""

    sizes: Mapping[str, Any]
    layout: str
    kind: str
    tokenizer_class: str
    heads: tuple[str, ...]


_ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 72,
}
_GROUPED = {**_ENCODER, "num_key_value_heads": 1, "head_dim": 8}
_RELATIVE = {**_ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 72,
}
_DECODER = {"hidden_size": 16, "n_layer": 2, "n_head": 2}
_GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 72}
_TAGS = ("sequence", "token", "qa")


def _recipe(sizes: Mapping[str, Any], layout: str, kind: str, cls: str, *heads: str) -> Recipe:
    return Recipe(sizes, layout, kind, cls, heads)


RECIPES: Mapping[str, Recipe] = {
    "bert": _recipe(
        _ENCODER, "bert", "wordpiece", "BertTokenizer", "base", "mlm", "pretraining", "clm", *_TAGS
    ),
    "roberta": _recipe(_ENCODER, "fairseq", "bytebpe", "RobertaTokenizer", "base", "mlm", *_TAGS),
    "xlm-roberta": _recipe(_ENCODER, "fairseq", "unigram", "XLMRobertaTokenizer", "base", "mlm", *_TAGS),
    "xlm-roberta-xl": _recipe(_ENCODER, "fairseq", "unigram", "XLMRobertaTokenizer", "base", "mlm"),
    "camembert": _recipe(_ENCODER, "fairseq", "unigram", "CamembertTokenizer", "mlm", "token"),
    "distilbert": _recipe(
        {
            "dim": 16,
            "n_layers": 2,
            "n_heads": 2,
            "hidden_dim": 24,
            "max_position_embeddings": 72,
        },
        "bert",
        "wordpiece",
        "DistilBertTokenizer",
        "base",
        "mlm",
        *_TAGS,
    ),
    "electra": _recipe(
        {**_ENCODER, "embedding_size": 12}, "bert", "wordpiece", "ElectraTokenizer", "base", "mlm", *_TAGS
    ),
    "albert": _recipe(
        {**_ENCODER, "embedding_size": 12}, "albert", "unigram", "AlbertTokenizer", "base", "mlm", *_TAGS
    ),
    "deberta": _recipe(_RELATIVE, "bert", "bytebpe", "DebertaTokenizer", "base", "mlm", "sequence"),
    "deberta-v2": _recipe(
        {**_RELATIVE, "share_att_key": True, "norm_rel_ebd": "layer_norm"},
        "deberta",
        "unigram",
        "DebertaV2Tokenizer",
        "base",
        "mlm",
        *_TAGS,
    ),
    "rembert": _recipe(
        {**_ENCODER, "input_embedding_size": 12, "output_embedding_size": 20},
        "albert",
        "unigram",
        "RemBertTokenizer",
        "base",
        "mlm",
        "token",
    ),
    "modernbert": _recipe(
        {**_ENCODER, "global_attn_every_n_layers": 2},
        "bert",
        "bytebpe",
        "PreTrainedTokenizerFast",
        "base",
        "mlm",
        "sequence",
        "token",
    ),
    "mpnet": _recipe(_ENCODER, "fairseq", "wordpiece", "MPNetTokenizer", "base", "mlm", *_TAGS),
    "t5": _recipe(_T5, "t5", "unigram", "T5Tokenizer", "base", "s2s", "sequence", "token", "qa"),
    "mt5": _recipe(_T5, "t5", "unigram", "T5Tokenizer", "base", "s2s", "sequence"),
    "umt5": _recipe(_T5, "t5", "unigram", "T5Tokenizer", "base", "s2s"),
    "bart": _recipe(_BART, "fairseq", "bytebpe", "BartTokenizer", "base", "s2s", "clm", "sequence", "qa"),
    "mbart": _recipe(_BART, "mbart", "unigram", "MBartTokenizer", "base", "s2s", "clm", "sequence"),
    "m2m_100": _recipe(_BART, "mbart", "unigram", "NllbTokenizer", "base", "s2s"),
    "marian": _recipe(_BART, "fairseq", "unigram", "PreTrainedTokenizerFast", "s2s"),
    "xglm": _recipe(
        {"d_model": 16, "num_layers": 2, "attention_heads": 2, "ffn_dim": 24, "max_position_embeddings": 72},
        "fairseq",
        "unigram",
        "XGLMTokenizer",
        "base",
        "clm",
    ),
    "bloom": _recipe(
        _DECODER, "llama", "bytebpe", "BloomTokenizer", "base", "clm", "sequence", "token", "qa"
    ),
    "gpt2": _recipe(_GPT2, "gpt2", "bytebpe", "GPT2Tokenizer", "base", "clm", "sequence", "token", "qa"),
    "gpt_neo": _recipe(
        {
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "attention_types": [[["global", "local"], 1]],
            "max_position_embeddings": 72,
        },
        "gpt2",
        "bytebpe",
        "GPT2Tokenizer",
        "clm",
    ),
    "gpt_neox": _recipe(_ENCODER, "gpt2", "bytebpe", "GPTNeoXTokenizer", "base", "clm", "sequence"),
    "opt": _recipe(
        {
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 72,
        },
        "fairseq",
        "bytebpe",
        "GPT2Tokenizer",
        "clm",
    ),
    "llama": _recipe(_GROUPED, "llama", "bpe", "LlamaTokenizer", "base", "clm", "sequence", "token", "qa"),
    "mistral": _recipe(_GROUPED, "llama", "bpe", "LlamaTokenizer", "base", "clm", "sequence", "token"),
    "mixtral": _recipe({**_GROUPED, "num_local_experts": 2}, "llama", "bpe", "LlamaTokenizer", "clm"),
    "granite": _recipe(_GROUPED, "gpt2", "bytebpe", "GPT2Tokenizer", "clm"),
    "olmo2": _recipe(_GROUPED, "gpt2", "bytebpe", "GPT2Tokenizer", "clm"),
    "smollm3": _recipe(_GROUPED, "gpt2", "bytebpe", "PreTrainedTokenizerFast", "clm"),
    "phi": _recipe(_ENCODER, "gpt2", "bytebpe", "GPT2Tokenizer", "clm"),
    "phi3": _recipe(_GROUPED, "llama", "bpe", "LlamaTokenizer", "base", "clm", "sequence"),
    "qwen2": _recipe(_GROUPED, "gpt2", "qwenbpe", "Qwen2Tokenizer", "base", "clm", "sequence", "token", "qa"),
    "qwen3": _recipe(_GROUPED, "gpt2", "qwenbpe", "Qwen2Tokenizer", "base", "clm", "sequence"),
    "qwen3_moe": _recipe(
        {**_GROUPED, "num_experts": 4, "moe_intermediate_size": 8, "num_experts_per_tok": 2},
        "gpt2",
        "qwenbpe",
        "Qwen2Tokenizer",
        "clm",
    ),
    "gemma": _recipe(_GROUPED, "gemma", "bpe", "GemmaTokenizer", "base", "clm", "sequence"),
    "gemma2": _recipe(_GROUPED, "gemma", "bpe", "GemmaTokenizer", "base", "clm"),
    "gemma3_text": _recipe(_GROUPED, "gemma", "bpe", "GemmaTokenizer", "base", "clm", "sequence"),
    "cohere": _recipe(_GROUPED, "gpt2", "bytebpe", "CohereTokenizer", "clm"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The special tokens of a family: first ids, last ids, roles."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    roles: Mapping[str, str]


_FAIRSEQ_ROLES = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
_BERT_ROLES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_END = "<|endoftext|>"
LAYOUTS: Mapping[str, Layout] = {
    "bert": Layout(first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), last=(), roles=_BERT_ROLES),
    "deberta": Layout(first=("[PAD]", "[CLS]", "[SEP]", "[UNK]"), last=("[MASK]",), roles=_BERT_ROLES),
    "albert": Layout(
        first=("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        last=(),
        roles={**_BERT_ROLES, "pad_token": "<pad>", "unk_token": "<unk>"},
    ),
    "fairseq": Layout(first=("<s>", "<pad>", "</s>", "<unk>"), last=("<mask>",), roles=_FAIRSEQ_ROLES),
    "mbart": Layout(
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=("de_DE", "en_XX", "fr_XX", "<mask>"),
        roles=_FAIRSEQ_ROLES,
    ),
    "t5": Layout(
        first=("<pad>", "</s>", "<unk>"),
        last=tuple(f"<extra_id_{i}>" for i in range(4, -1, -1)),
        roles={"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    ),
    "llama": Layout(
        first=("<unk>", "<s>", "</s>"),
        last=("<pad>",),
        roles={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    ),
    "gemma": Layout(
        first=("<pad>", "<eos>", "<bos>", "<unk>"),
        last=("<start_of_turn>", "<end_of_turn>"),
        roles={"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
    ),
    "gpt2": Layout(
        first=(),
        last=(_END, "<|im_start|>", "<|im_end|>"),
        roles={"bos_token": _END, "eos_token": _END, "pad_token": _END},
    ),
}


def train_tokenizer(kind: str, layout: str, vocab_size: int = 400) -> dict[str, Any]:
    """A tokenizer trained on :data:`TEXTS`, as the parsed ``tokenizer.json``.

    Args:
        kind: ``unigram``, ``bytebpe`` (GPT-2 style), ``qwenbpe`` (Qwen style), ``bpe`` (SentencePiece style
            with byte fallback) or ``wordpiece``.
        layout: A key of :data:`LAYOUTS`.
        vocab_size: Entries wanted, special tokens included.
    """
    document: dict[str, Any] = json.loads(_trained(kind, layout, vocab_size))
    return document


@functools.lru_cache(maxsize=64)
def _trained(kind: str, layout: str, vocab_size: int) -> str:
    names = LAYOUTS[layout]
    special = [AddedToken(token, special=True, normalized=False) for token in names.first]
    unknown = names.roles.get("unk_token", "<unk>")
    size = vocab_size - len(names.last)
    if kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer: Any = UnigramTrainer(
            vocab_size=size, special_tokens=special, unk_token=unknown, show_progress=False
        )
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    elif kind in ("bytebpe", "qwenbpe"):
        tokenizer = Tokenizer(models.BPE())
        if kind == "qwenbpe":
            tokenizer.normalizer = normalizers.NFC()
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated", invert=False),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = BpeTrainer(
            vocab_size=size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token=unknown, fuse_unk=True, byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        as_bytes = [AddedToken(f"<0x{byte:02X}>") for byte in range(256)]
        trainer = BpeTrainer(vocab_size=size + 256, special_tokens=[*special, *as_bytes], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in names.last])
    tokenizer.post_processor = _post_processor(layout, tokenizer)
    document = json.loads(tokenizer.to_str())
    if kind == "bpe":
        document["added_tokens"] = [t for t in document["added_tokens"] if not t["content"].startswith("<0x")]
    return json.dumps(document, ensure_ascii=False)


_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TEMPLATES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "deberta": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "albert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1"),
    "fairseq": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "mbart": ("$A </s> en_XX", "$A $B </s> en_XX"),
    "t5": ("$A </s>", "$A </s> $B </s>"),
    "llama": ("<s> $A", "<s> $A <s>:1 $B:1"),
    "gemma": ("<bos> $A", "<bos> $A <bos>:1 $B:1"),
}


def _post_processor(layout: str, tokenizer: Tokenizer) -> Any:
    if layout not in _TEMPLATES:
        return processors.ByteLevel(trim_offsets=False)
    single, pair = _TEMPLATES[layout]
    used = {word.split(":")[0] for word in pair.split() if not word.startswith("$")}
    return processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in sorted(used)],
    )


def make_tiny(
    family: str,
    head: str,
    directory: Path,
    *,
    tokenizer: str | None = None,
    layout: str | None = None,
    vocab_size: int = 400,
    dtype: str = "float32",
    tied: bool | None = None,
    padding_rows: int = 5,
    copies: bool = False,
    seed: int = 0,
    **sizes: Any,
) -> Path:
    """Write a complete tiny model directory.

    Args:
        family: A ``model_type`` of :data:`RECIPES`.
        head: A key of :data:`HEADS`.
        directory: Where to write; made if missing.
        tokenizer: Kind of tokenizer, see :func:`train_tokenizer`; by default the family's own.
        layout: Special tokens, a key of :data:`LAYOUTS`; by default the family's own.
        vocab_size: Entries of the tokenizer (before byte tokens).
        dtype: Name of the torch type of the weights.
        tied: Overrides ``tie_word_embeddings``. For the T5 family ``False`` writes the file that version 4
            wrote: a separate ``lm_head.weight``, and the flag in config.json.
        padding_rows: Rows of the table beyond the tokenizer's last id.
        copies: Also store redundant copies of the tied tables, as converted checkpoints do.
        seed: Of the random weights.
        sizes: Further fields of the configuration.

    Returns:
        The directory.
    """
    import torch
    import transformers

    recipe = RECIPES[family]
    directory.mkdir(parents=True, exist_ok=True)
    document = train_tokenizer(tokenizer or recipe.kind, layout or recipe.layout, vocab_size)
    names = LAYOUTS[layout or recipe.layout]
    ids = {**token_ids(document)}
    rows = max(ids.values()) + 1 + padding_rows
    fields: dict[str, Any] = {**recipe.sizes, "vocab_size": rows, **_role_ids(family, names, ids), **sizes}
    if tied is not None:
        fields["tie_word_embeddings"] = tied
    config = transformers.AutoConfig.for_model(family, **fields)
    torch.manual_seed(seed)
    model = getattr(transformers, HEADS[head]).from_config(config)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.ndim == 1 or name == "final_logits_bias":
                tensor.add_(torch.randn(tensor.shape) * 0.2)
            elif tensor.ndim == 2:
                # Larger than the library's 0.02, so that greedy generation is not a coin toss.
                tensor.mul_(8)
    model.to(getattr(torch, dtype)).save_pretrained(directory)
    if (tied is False and family in ("t5", "mt5", "umt5")) or copies:
        _edit_weights(directory, family, separate_head=tied is False, copies=copies)
    write_tokenizer(directory, document, recipe.tokenizer_class, names)
    return directory


def write_tokenizer(
    directory: Path, document: Mapping[str, Any], tokenizer_class: str, layout: Layout, **fields: Any
) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    text = json.dumps(document, ensure_ascii=False)
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    settings = {"tokenizer_class": tokenizer_class, "model_max_length": 64, **layout.roles, **fields}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def token_ids(document: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of a ``tokenizer.json``, added tokens included."""
    vocab = document["model"]["vocab"]
    ids = {item[0]: i for i, item in enumerate(vocab)} if isinstance(vocab, list) else dict(vocab)
    return ids | {token["content"]: token["id"] for token in document["added_tokens"]}


def _role_ids(family: str, layout: Layout, ids: Mapping[str, int]) -> dict[str, int]:
    fields = {
        f"{role}_id": ids[token]
        for role, token in layout.roles.items()
        if role in ("bos_token", "eos_token", "pad_token")
    }
    if "eos_token_id" not in fields:
        fields |= {
            "bos_token_id": ids[layout.roles["cls_token"]],
            "eos_token_id": ids[layout.roles["sep_token"]],
        }
    if family in ("t5", "mt5", "umt5"):
        fields["decoder_start_token_id"] = fields["pad_token_id"]
    if family in ("bart", "mbart", "m2m_100", "marian"):
        fields["decoder_start_token_id"] = fields["eos_token_id"]
        fields["forced_eos_token_id"] = fields["eos_token_id"]
    if family == "modernbert":
        fields |= {"cls_token_id": fields["bos_token_id"], "sep_token_id": fields["eos_token_id"]}
    return fields


_COPIES = {
    "lm_head.decoder.weight": ("xlm-roberta", "roberta", "camembert", "mpnet"),
    "cls.predictions.decoder.weight": ("bert", "deberta-v2"),
    "vocab_projector.weight": ("distilbert",),
    "encoder.embed_tokens.weight": ("t5", "mt5", "umt5"),
    "decoder.embed_tokens.weight": ("t5", "mt5", "umt5"),
    "model.encoder.embed_tokens.weight": ("bart", "mbart", "m2m_100"),
    "model.decoder.embed_tokens.weight": ("bart", "mbart", "m2m_100"),
    "lm_head.weight": ("t5", "bart", "mbart", "m2m_100", "gpt2", "bloom", "xglm", "gemma", "qwen2"),
}
_BIAS_COPIES = {
    "lm_head.bias": "lm_head.decoder.bias",
    "cls.predictions.bias": "cls.predictions.decoder.bias",
}


def _edit_weights(directory: Path, family: str, *, separate_head: bool, copies: bool) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tables = [name for name in tensors if name.endswith(("shared.weight", "embeddings.weight", "wte.weight"))]
    tables += [name for name in tensors if name.endswith("embed_tokens.weight")]
    table = tensors[next(name for name in tables if "position" not in name and "token_type" not in name)]
    if copies:
        for name, families in _COPIES.items():
            if family in families:
                tensors.setdefault(name, table.copy())
        for name, copy in _BIAS_COPIES.items():
            if name in tensors:
                tensors.setdefault(copy, tensors[name].copy())
    if separate_head:
        tensors["lm_head.weight"] = np.random.default_rng(1).normal(size=table.shape).astype(table.dtype)
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        config["tie_word_embeddings"] = False
        (directory / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    save_file(tensors, path, metadata={"format": "pt"})


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the tokenizer files of one directory into another."""
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
