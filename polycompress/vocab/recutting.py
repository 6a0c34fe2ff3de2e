"""Cut what tokens of one tokenizer say into the pieces of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.document import boundary_mark, is_byte_level, model_type
from polycompress.vocab.encoding import segmenting

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def cut_forms(doc: Mapping[str, Any], tokenizer: Tokenizer, forms: Sequence[bytes | None]) -> list[list[int]]:
    r"""Cut forms (see ``forms.token_forms``) by a tokenizer's model.

    The tokenizer's normaliser is applied, its pre-tokenizer is not: that would take a piece from the middle of a word
    for a word of its own. A piece that begins no word is cut as one that begins none.

    Args:
        doc: The state of the checked tokenizer.
        tokenizer: The same, loaded.
        forms: What tokens of any other tokenizer stand for; None for those that stand for no text.

    Returns:
        For each form the ids of its pieces, the unknown token among them where the model has no better; nothing for
        None, and for bytes that are no text where the tokenizer does not work on bytes.

    Raises:
        InputError: The tokenizers library cannot segment a form.

    Example:
        Of XLM-R ``b" il\xc3\xa9"`` is cut like the word ``ilé``, and ``b"il\xc3\xa9"`` like the end of ``abilé``.
    """
    cut = _cutter(doc, tokenizer)
    with segmenting():
        return [cut(form) if form else [] for form in forms]


def _cutter(doc: Mapping[str, Any], tokenizer: Tokenizer) -> Callable[[bytes], list[int]]:
    mark = " " if is_byte_level(doc) else boundary_mark(doc)
    normalizer, symbols = tokenizer.normalizer, byte_symbols()

    def parted(form: bytes) -> tuple[bool, str] | None:
        """Whether it begins a word, and its text, normalised."""
        try:
            text = form.decode("utf-8")
        except UnicodeDecodeError:
            return None
        begins, body = text.startswith(" "), text.strip(" ")
        if normalizer is not None:
            body = normalizer.normalize_str(body)
        return begins, body.replace(" ", mark).strip(mark)

    def by_bytes(form: bytes) -> list[int]:
        found = parted(form)
        raw = form if found is None else (" " * found[0] + found[1]).encode("utf-8")
        return [token.id for token in tokenizer.model.tokenize("".join(symbols[byte] for byte in raw))]

    def by_text(form: bytes) -> list[int]:
        found = parted(form)
        if found is None or not (found[0] or found[1]):
            return []
        return [token.id for token in tokenizer.model.tokenize(mark * found[0] + found[1])]

    if model_type(doc) == "wordpiece":
        model = doc["model"]
        vocab: Mapping[str, int] = model["vocab"]
        prefix = model.get("continuing_subword_prefix", "##")
        unknown = vocab.get(model.get("unk_token", "[UNK]"))

        def by_words(form: bytes) -> list[int]:
            found = parted(form)
            if found is None or not found[1]:
                return []
            ids = longest_first(found[1], vocab, prefix, inside=not found[0])
            return ids if ids is not None else [unknown] if unknown is not None else []

        return by_words
    return by_bytes if is_byte_level(doc) else by_text


def longest_first(text: str, vocab: Mapping[str, int], prefix: str, *, inside: bool) -> list[int] | None:
    """Cut a word, or a part of one, as WordPiece does: always the longest piece that fits.

    Args:
        text: Without spaces.
        vocab: Piece -> id.
        prefix: Of pieces inside words.
        inside: Whether the text begins inside a word.

    Returns:
        Ids; None where no piece fits.

    Example:
        >>> longest_first("unable", {"un": 0, "##able": 1, "able": 2}, "##", inside=False)
        [0, 1]
    """
    ids, start = [], 0
    while start < len(text):
        lead = prefix if inside or start else ""
        for end in range(len(text), start, -1):
            if (number := vocab.get(lead + text[start:end])) is not None:
                ids.append(number)
                start = end
                break
        else:
            return None
    return ids
