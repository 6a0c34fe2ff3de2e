"""How tokenizer classes number the pieces of a SentencePiece file.

The file numbers its pieces from 0; the classes put their own special tokens before, between and behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from polycompress.errors import InputError

Scored = list[tuple[str, float]]
"""Pieces with their scores, in the order of their numbers."""

_NEVER = -1e6  # a score that no segmentation chooses


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """A vocabulary ready to be made into a tokenizer."""

    vocabulary: Scored
    ids: tuple[int, ...]
    """Token id of every piece of the file."""
    unknown: int
    special: tuple[str, ...]
    """Special tokens, in the order of their ids; those the vocabulary lacks follow behind it."""
    single: str
    pair: str
    """Templates of the post-processor."""
    strips_before: tuple[str, ...] = ()
    """Special tokens that take in the space before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceLayout:
    """One way to number pieces."""

    arrange: Callable[[Scored, Mapping[str, Any], Mapping[str, Any] | None, int | None], Pieces]
    """(pieces, tokenizer_config.json, vocab.json, rows of the table) -> vocabulary."""
    own_ids: bool = field(default=False)
    """True if ``vocab.json`` numbers the pieces."""


def arrange_t5(
    pieces: Scored, settings: Mapping[str, Any], _: Mapping[str, Any] | None, rows: int | None
) -> Pieces:
    """T5 and mT5: the file's own numbers, then the sentinels, last one first."""
    extra = settings.get("extra_ids")
    if not isinstance(extra, int):
        # The class assumes a hundred; mT5's table has no room for them.
        extra = 100 if rows is None or len(pieces) + 100 <= rows else 0
    if not 0 <= extra <= 10_000:
        raise InputError(
            f"tokenizer_config.json: extra_ids is {extra}; expected a number of sentinel tokens."
        )
    sentinels = [f"<extra_id_{number}>" for number in range(extra - 1, -1, -1)]
    return Pieces(
        vocabulary=[*pieces, *((token, 0.0) for token in sentinels)],
        ids=tuple(range(len(pieces))),
        unknown=_number(pieces, "<unk>"),
        special=("<pad>", "</s>", "<unk>", *sentinels),
        single="$A </s>",
        pair="$A </s> $B </s>",
    )


def arrange_xlm_roberta(
    pieces: Scored, _: Mapping[str, Any], __: Mapping[str, Any] | None, ___: int | None
) -> Pieces:
    """XLM-R: fairseq's four tokens first, the mask last."""
    return _fairseq(
        pieces,
        last=("<mask>",),
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        strips_before=("<mask>",),
    )


def arrange_xglm(
    pieces: Scored, _: Mapping[str, Any], __: Mapping[str, Any] | None, ___: int | None
) -> Pieces:
    """XGLM: fairseq's four tokens first, seven made-up words last."""
    last = tuple(f"<madeupword{number}>" for number in range(7))
    return _fairseq(pieces, last=last, single="</s> $A", pair="</s> $A </s> </s> $B")


def arrange_deberta(
    pieces: Scored, settings: Mapping[str, Any], _: Mapping[str, Any] | None, __: int | None
) -> Pieces:
    """DeBERTa-v2 and v3: the file's own numbers, then the mask."""
    for flag in ("do_lower_case", "split_by_punct"):
        if settings.get(flag):
            raise InputError(
                f"tokenizer_config.json: {flag} is set; such a tokenizer changes the text before "
                "sentencepiece sees it and is not converted."
            )
    return Pieces(
        vocabulary=list(pieces),
        ids=tuple(range(len(pieces))),
        unknown=_number(pieces, "[UNK]"),
        special=("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    )


def arrange_m2m100(
    pieces: Scored, settings: Mapping[str, Any], vocabulary: Mapping[str, Any] | None, _: int | None
) -> Pieces:
    """M2M100: ``vocab.json`` numbers the pieces, language tokens follow."""
    if vocabulary is None or sorted(map(repr, vocabulary.values())) != sorted(
        map(repr, range(len(vocabulary)))
    ):
        raise InputError("vocab.json: its ids must be 0 to the number of entries less one, each once.")
    if "<unk>" not in vocabulary:
        raise InputError("vocab.json: has no '<unk>'; it belongs to another tokenizer.")
    scores = dict(pieces)
    ordered = sorted(vocabulary, key=lambda token: int(vocabulary[token]))
    unknown = int(vocabulary["<unk>"])
    lost = [piece for piece, _ in pieces[3:] if piece not in vocabulary]
    if lost:
        raise InputError(
            f"vocab.json: lacks {len(lost)} pieces of the SentencePiece file ({lost[0]!r} among them), which "
            "would all be unknown; a tokenizer.json cannot say that."
        )
    languages = tuple(f"__{code}__" for code in _m2m100_codes(settings))
    source = settings.get("src_lang")
    source = f"__{source}__" if isinstance(source, str) else "__en__"
    if source not in languages:
        raise InputError(
            f"tokenizer_config.json: src_lang {settings.get('src_lang')!r} is no language of M2M100."
        )
    return Pieces(
        vocabulary=[(token, scores.get(token, _NEVER)) for token in ordered],
        ids=tuple(int(vocabulary.get(piece, unknown)) for piece, _ in pieces),
        unknown=unknown,
        special=("<s>", "<pad>", "</s>", "<unk>", *languages),
        single=f"{source} $A </s>",
        pair=f"{source} $A $B </s>",
    )


def _m2m100_codes(settings: Mapping[str, Any]) -> list[str]:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    name = settings.get("language_codes", "m2m100")
    if name not in FAIRSEQ_LANGUAGE_CODES:
        known = ", ".join(FAIRSEQ_LANGUAGE_CODES)
        raise InputError(f"tokenizer_config.json: language_codes {name!r} is none of {known}.")
    return list(FAIRSEQ_LANGUAGE_CODES[name])


def _fairseq(
    pieces: Scored, *, last: tuple[str, ...], single: str, pair: str, strips_before: tuple[str, ...] = ()
) -> Pieces:
    """``<s> <pad> </s> <unk>``, the file's pieces from the fourth on, ``last``."""
    if [piece for piece, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise InputError(
            "The SentencePiece file does not begin with <unk>, <s>, </s> as the files of this tokenizer "
            f"class do, but with {', '.join(piece for piece, _ in pieces[:3])}."
        )
    first = ("<s>", "<pad>", "</s>", "<unk>")
    return Pieces(
        vocabulary=[*((t, 0.0) for t in first), *pieces[3:], *((t, 0.0) for t in last)],
        ids=(3, 0, 2, *range(4, len(pieces) + 1)),
        unknown=3,
        special=(*first, *last),
        single=single,
        pair=pair,
        strips_before=strips_before,
    )


def _number(pieces: Scored, wanted: str) -> int:
    for number, (piece, _) in enumerate(pieces):
        if piece == wanted:
            return number
    raise InputError(
        f"The SentencePiece file has no piece {wanted!r}; it belongs to another tokenizer class."
    )


LAYOUTS: Mapping[str, PieceLayout] = {
    "DebertaV2Tokenizer": PieceLayout(arrange=arrange_deberta),
    "M2M100Tokenizer": PieceLayout(arrange=arrange_m2m100, own_ids=True),
    "MT5Tokenizer": PieceLayout(arrange=arrange_t5),
    "T5Tokenizer": PieceLayout(arrange=arrange_t5),
    "XGLMTokenizer": PieceLayout(arrange=arrange_xglm),
    "XLMRobertaTokenizer": PieceLayout(arrange=arrange_xlm_roberta),
}
"""Tokenizer class (without ``Fast``) -> its numbering; the classes that can be converted."""
