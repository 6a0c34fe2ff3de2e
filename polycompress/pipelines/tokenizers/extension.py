"""New pieces for a tokenizer, found in the text of some languages."""

from __future__ import annotations

from collections.abc import Sequence

from polycompress.errors import InputError
from polycompress.pipelines.tokenizers.opening import OpenTokenizer
from polycompress.pipelines.tokenizers.text import LanguageText
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.extending.document import extend_document
from polycompress.vocab.extending.finding import train_pieces
from polycompress.vocab.extending.pieces import Extended
from polycompress.vocab.training.balancing import EXPONENT, balanced, times_each


def find_extension(
    opened: OpenTokenizer,
    texts: Sequence[LanguageText],
    most: int,
    *,
    exponent: float = EXPONENT,
    progress: Progress | None = None,
) -> tuple[Extended, dict[str, float]]:
    """Find pieces in the text of some languages and add them.

    Args:
        opened: The tokenizer.
        texts: Of each language.
        most: Pieces wanted.
        exponent: How languages are balanced.
        progress: Told of the work.

    Returns:
        The extended tokenizer, and how often each language's texts counted.

    Raises:
        InputError: There is nothing to add, or the text cannot be worked on.
    """
    times = times_each({text.language.code: text.characters for text in texts}, exponent)
    training = {text.language.code: text.training for text in texts}
    choosing = {text.language.code: text.choosing for text in texts}
    found = train_pieces(
        opened.document,
        list(balanced(training, times)),
        list(balanced(choosing, times)),
        most=most,
        progress=progress,
    )
    if not found:
        names = ", ".join(text.language.name for text in texts)
        raise InputError(
            f"no piece would save a token in the text of {names}: there is nothing to add. Give more text"
        )
    return extend_document(opened.document, found), times
