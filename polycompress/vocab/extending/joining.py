"""New pieces for BPE and WordPiece models: pairs of the model's own tokens, joined where that saves most.

The words of the new text are cut into the tokens that the model makes of them today, and byte-pair merges go on from
there (``merging``). For BPE this *is* its training, continued on other text: the new merges come after all old ones
in the list, so every old merge is made before any new one, and the new tokens of a text are unions of neighbouring
old ones. A text in which no new merge is made keeps its tokens.

WordPiece has no merges: it takes the longest piece that fits. It gets the same new pieces, and since the alphabet is
complete (``document.complete_alphabet``) no word that was readable becomes unknown by a longer first choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polycompress.vocab.derivation import word_symbols
from polycompress.vocab.document import added_token_ids, boundary_mark, is_byte_level, model_type, pieces
from polycompress.vocab.extending.merging import merge_pairs
from polycompress.vocab.extending.pieces import MAX_CHARACTERS, NewPiece, is_visible, is_word_part
from polycompress.vocab.kinds import kind_of


def marks(model: Mapping[str, Any]) -> tuple[str, str]:
    """What a model writes before pieces inside words and behind those that end words; empty where it has no mark."""
    default = "##" if "merges" not in model else ""
    return model.get("continuing_subword_prefix", default) or "", model.get("end_of_word_suffix") or ""


def missing_symbols(document: Mapping[str, Any], words: Mapping[str, int], *, least: int) -> list[NewPiece]:
    """The characters of words that a BPE or WordPiece model has no symbol for.

    Args:
        document: The state of a checked tokenizer.
        words: With how often each occurs.
        least: Occurrences of a symbol that is worth a piece.

    Returns:
        Single symbols, the most frequent first. None for byte-level models and those with byte fallback: they write
        anything.
    """
    model = document["model"]
    if is_byte_level(document) or model.get("byte_fallback"):
        return []
    prefix, suffix = marks(model)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for symbol in word_symbols(word, prefix, suffix):
            counts[symbol] += count
    missing = [
        (count, symbol)
        for symbol, count in counts.items()
        if count >= least and symbol not in model["vocab"] and is_visible(symbol.removeprefix(prefix)[:1])
    ]
    return [NewPiece(text=symbol) for _, symbol in sorted(missing, key=lambda entry: (-entry[0], entry[1]))]


def joined_pieces(
    document: Mapping[str, Any],
    words: Mapping[str, int],
    segmented: Mapping[str, Sequence[int]],
    *,
    most: int,
    least: int,
    progress: Callable[[int], None] | None = None,
) -> list[NewPiece]:
    """Find the pieces that would save the most tokens, one after the other.

    Args:
        document: The state of a checked BPE or WordPiece tokenizer.
        words: With how often each occurs.
        segmented: The tokens that the model makes of each word.
        most: At most so many merges.
        least: No merge that saves fewer tokens.
        progress: Told of merges made.

    Returns:
        New pieces in the order of their first merges, each with all of its merges. The parts of a merge are old pieces
        or stand in the list as well.
    """
    names = pieces(document)
    prefix, suffix = marks(document["model"])
    shape = {"mark": boundary_mark(document), "prefix": prefix, "suffix": suffix}
    byte_level = is_byte_level(document)
    closed = set(_closed(document))
    old = {name for name in names if name is not None}
    texts: list[str] = [name or "" for name in names]
    numbers: dict[str, int] = {}

    def join(left: int, right: int) -> int | None:
        text = texts[left] + texts[right].removeprefix(prefix)
        if (
            text in old
            or len(text) > MAX_CHARACTERS
            or not is_word_part(text, **shape, byte_level=byte_level)
        ):
            return None
        if text not in numbers:
            numbers[text] = len(texts)
            texts.append(text)
        return numbers[text]

    symbols = [[-1 if token in closed else token for token in segmented[word]] for word in words]
    merges = merge_pairs(symbols, list(words.values()), most=most, least=least, join=join, progress=progress)
    found: dict[str, list[tuple[str, str]]] = {}
    for merge in merges:
        found.setdefault(texts[merge.made], []).append((texts[merge.left], texts[merge.right]))
    listed = model_type(document) == "bpe"
    return [NewPiece(text=text, merges=tuple(pairs) if listed else ()) for text, pairs in found.items()]


def _closed(document: Mapping[str, Any]) -> list[int]:
    """Tokens that are part of no new piece: added ones, the unknown token and byte-fallback pieces."""
    required = kind_of(document).required(document["model"], byte_level=False)
    return [
        *added_token_ids(document),
        *(number for number, rule in required.items() if rule in ("unknown", "byte")),
    ]
