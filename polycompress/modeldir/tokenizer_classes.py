"""What the libraries' tokenizer classes assume where ``tokenizer_config.json`` is silent.

A trimmed directory names no special class (such a class would rebuild the tokenizer from scratch), so the
assumptions of the original class have to be written out. Values are those of transformers 4.57, compared with
5.23 by a test; the one intended difference is that ALBERT and RemBERT keep their segment ids, which 5.23
dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens that both libraries know by name."""

GENERIC = "PreTrainedTokenizer"
"""The class (without ``Fast``) that takes ``tokenizer.json`` as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """Defaults of one tokenizer class."""

    tokens: Mapping[str, str] = field(default_factory=dict)
    """Role -> token."""
    segments: bool = False
    """True if the class passes ``token_type_ids`` to the model."""
    padding_side: str = "right"


_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_FAIRSEQ = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_ALBERT = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_DEBERTA = {**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}
_END = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")
_LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def _without(tokens: Mapping[str, str], *roles: str) -> dict[str, str]:
    return {role: token for role, token in tokens.items() if role not in roles}


TOKENIZER_CLASSES: Mapping[str, TokenizerClass] = {
    "AlbertTokenizer": TokenizerClass(tokens=_ALBERT, segments=True),
    "BartTokenizer": TokenizerClass(tokens=_FAIRSEQ),
    "BertTokenizer": TokenizerClass(tokens=_BERT, segments=True),
    "BloomTokenizer": TokenizerClass(tokens={**_LLAMA, "pad_token": "<pad>"}),
    "CamembertTokenizer": TokenizerClass(tokens=_FAIRSEQ),
    "CohereTokenizer": TokenizerClass(
        tokens={"unk_token": "<UNK>", "bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>"},
        padding_side="left",
    ),
    "DebertaTokenizer": TokenizerClass(tokens=_DEBERTA, segments=True),
    "DebertaV2Tokenizer": TokenizerClass(tokens=_DEBERTA, segments=True),
    "DistilBertTokenizer": TokenizerClass(tokens=_BERT),
    "ElectraTokenizer": TokenizerClass(tokens=_BERT, segments=True),
    "GPT2Tokenizer": TokenizerClass(tokens=_END),
    "GPTNeoXTokenizer": TokenizerClass(tokens=_END),
    "GemmaTokenizer": TokenizerClass(
        tokens={"unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
        padding_side="left",
    ),
    "LlamaTokenizer": TokenizerClass(tokens=_LLAMA, padding_side="left"),
    "M2M100Tokenizer": TokenizerClass(tokens=_without(_FAIRSEQ, "cls_token", "mask_token")),
    "MBart50Tokenizer": TokenizerClass(tokens=_without(_FAIRSEQ, "bos_token")),
    "MBartTokenizer": TokenizerClass(tokens=_FAIRSEQ),
    "MPNetTokenizer": TokenizerClass(tokens={**_FAIRSEQ, "unk_token": "[UNK]"}),
    "MT5Tokenizer": TokenizerClass(tokens=_T5),
    "MarianTokenizer": TokenizerClass(tokens=_T5),
    "NllbTokenizer": TokenizerClass(tokens=_FAIRSEQ),
    GENERIC: TokenizerClass(),
    "Qwen2Tokenizer": TokenizerClass(tokens=_without(_END, "bos_token") | {"pad_token": "<|endoftext|>"}),
    "RemBertTokenizer": TokenizerClass(tokens=_ALBERT, segments=True),
    "RobertaTokenizer": TokenizerClass(tokens=_FAIRSEQ),
    "T5Tokenizer": TokenizerClass(tokens=_T5),
    "XGLMTokenizer": TokenizerClass(tokens=_without(_FAIRSEQ, "mask_token")),
    "XLMRobertaTokenizer": TokenizerClass(tokens=_FAIRSEQ),
}

ROLE_NAMES: Mapping[str, tuple[str, ...]] = {
    "bos_token": ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "[BOS]"),
    "eos_token": ("</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>", "[EOS]"),
    "unk_token": ("<unk>", "[UNK]", "<UNK>"),
    "sep_token": ("[SEP]", "<sep>"),
    "pad_token": ("<pad>", "[PAD]", "<PAD>", "<|padding|>", "<|pad|>"),
    "cls_token": ("[CLS]", "<cls>"),
    "mask_token": ("<mask>", "[MASK]"),
}
"""Spellings that give a special token's role away, for directories that name neither roles nor class."""

SEGMENT_FAMILIES = ("bert", "electra", "albert", "deberta", "deberta-v2", "rembert")
"""Model types whose inputs have segments, if ``type_vocab_size`` is above one."""
