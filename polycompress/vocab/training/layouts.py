"""What a new tokenizer has around its model: special tokens, normaliser, pre-tokeniser, decoder, template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

TokenizerType = Literal["unigram", "bpe", "byte-bpe", "wordpiece"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One type of tokenizer, without its pieces."""

    roles: Mapping[str, str]
    """Role -> special token. The distinct tokens take the first ids in this order."""
    unknown: str
    fields: Mapping[str, Any]
    """Of ``tokenizer.json``: normalizer, pre_tokenizer and decoder."""

    @property
    def special(self) -> list[str]:
        """The special tokens by id."""
        return list(dict.fromkeys(self.roles.values()))

    def post_processor(self) -> dict[str, Any]:
        """Begin and end around one text, and around two."""
        begin, end = self.roles["cls_token"], self.roles["sep_token"]
        twice = [end] if begin == "<s>" else []
        segments = int(begin == "[CLS]")
        single = [_special(begin), _text("A"), _special(end)]
        pair = [*single, *map(_special, twice), _text("B", segments), _special(end, segments)]
        ids = {token: number for number, token in enumerate(self.special)}
        return {
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": {
                token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (begin, end)
            },
        }


def _special(token: str, segment: int = 0) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": segment}}


def _text(name: str, segment: int = 0) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": segment}}


_ANGLES: Final = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
_BRACKETS: Final = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_METASPACE: Final = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_APART: Final = {
    "type": "Split",
    "pattern": {
        "Regex": r"▁?(?:[^\p{L}\p{M}\p{N}▁'’ʼ]|(?<![\p{L}\p{M}])['’ʼ]|['’ʼ](?![\p{L}\p{M}]))+",
    },
    "behavior": "Isolated",
    "invert": False,
}
"""Signs are no part of words, as where SentencePiece splits by script; apostrophes within a word are."""
_SENTENCEPIECE: Final = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFKC"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ],
    },
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [_METASPACE, _APART]},
    "decoder": _METASPACE,
}
_BYTES: Final = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

LAYOUTS: Final[Mapping[TokenizerType, Layout]] = {
    "unigram": Layout(roles=_ANGLES, unknown="<unk>", fields=_SENTENCEPIECE),
    "bpe": Layout(roles=_ANGLES, unknown="<unk>", fields=_SENTENCEPIECE),
    "byte-bpe": Layout(
        roles=_ANGLES,
        unknown="<unk>",
        fields={"normalizer": {"type": "NFC"}, "pre_tokenizer": _BYTES, "decoder": _BYTES},
    ),
    "wordpiece": Layout(
        roles=_BRACKETS,
        unknown="[UNK]",
        fields={
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": False,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        },
    ),
}
"""Unigram and BPE as SentencePiece's models are converted, byte-level BPE as GPT-2's, WordPiece as BERT's, cased."""
