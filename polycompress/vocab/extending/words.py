"""The words that a tokenizer's model is given: text normalised and pre-tokenised by the tokenizer's own parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import regex

from polycompress.vocab.document import boundary_mark
from polycompress.vocab.encoding import segmenting

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def count_words(document: Mapping[str, Any], tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, int]:
    """Count the words of texts as the model sees them.

    A tokenizer without a pre-tokeniser gives its model whole texts; new pieces are not to span words, so these are cut
    before spaces and their marks.

    Args:
        document: The state of a checked tokenizer.
        tokenizer: The same, loaded.
        texts: Each counts as often as it comes. What they hold of added tokens is left out.

    Returns:
        Words with how often each occurs, sorted by word.

    Raises:
        InputError: The tokenizers library cannot normalise or cut a text.
    """
    added = [token["content"] for token in document.get("added_tokens") or ()]
    special = regex.compile(r"\L<texts>", texts=added) if added else None
    mark = boundary_mark(document)
    cut = regex.compile(f"[ {regex.escape(mark)}]*[^ {regex.escape(mark)}]+|.+", regex.DOTALL)
    counts: Counter[str] = Counter()
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    with segmenting():
        for text in texts:
            plain = special.sub(" ", text) if special is not None else text
            normal = plain if normalizer is None else normalizer.normalize_str(plain)
            if pre_tokenizer is None:
                counts.update(cut.findall(normal))
            else:
                counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normal))
    return dict(sorted(counts.items()))


def segment_words(tokenizer: Tokenizer, words: Iterable[str]) -> dict[str, list[int]]:
    """The tokens that a model makes of single words.

    Args:
        tokenizer: Loaded.
        words: Of ``count_words``.

    Returns:
        Token ids of each word.

    Raises:
        InputError: The tokenizers library refuses a word.
    """
    model = tokenizer.model
    with segmenting():
        return {word: [token.id for token in model.tokenize(word)] for word in words}
