"""Vectors of tokens in a space of their own, as FOCUS needs them: trained on text that is cut into tokens, or given."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import Reading, TextReader, parse_corpora
from polycompress.embeddings.initialising.material import Space
from polycompress.embeddings.training_vectors import STEPS, VectorTraining, train_fasttext, write_words
from polycompress.embeddings.vec_binary import read_fasttext
from polycompress.embeddings.vec_text import read_text_vectors
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.encoding import encode_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WIDTH: Final = 200
_SHOWN: Final = 3


def trained_token_vectors(
    tokenizer: Tokenizer,
    size: int,
    corpus: Sequence[str],
    languages: Sequence[Language],
    *,
    field: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Space:
    """Train fastText's skip-gram on text whose words are tokens; without n-grams, for a token is no text.

    Args:
        tokenizer: Padding and truncation off.
        size: V.
        corpus: ``LANG=PATTERN``.
        languages: Those that the patterns name.
        field: Column of the text in files that have columns.
        seed: Of the training.
        progress: Told of it.

    Raises:
        InputError: A file cannot be read, or no token is frequent enough.
        MissingExtraError: fastText is not installed.

    Reference:
        Dobler and de Melo, "FOCUS" (EMNLP 2023), section 3.
    """
    how = VectorTraining(width=_WIDTH, min_gram=0, max_gram=0, lower=False, seed=seed)
    specs = parse_corpora(corpus, languages, asked_with="--extend", reading=Reading(field=field))
    tell = (lambda done: progress("training token vectors", done, STEPS)) if progress is not None else None
    with tempfile.TemporaryDirectory(prefix="polycompress-") as place:
        text, model = Path(place) / "tokens.txt", Path(place) / "tokens.bin"
        with text.open("w", encoding="utf-8", newline="\n") as file:
            for spec in specs:
                texts = TextReader(spec.files, spec.reading)
                write_words((list(map(str, ids)) for ids in encode_ids(tokenizer, texts)), file)
        train_fasttext(text, model, how, progress=tell)
        numbers, matrix, _ = read_fasttext(model)
    return _space(size, np.array([int(number) for number in numbers], dtype=np.int64), matrix)


def given_token_vectors(paths: Sequence[str], names: Sequence[str | None]) -> Space:
    """Read vectors of tokens.

    Args:
        paths: One text file (``.vec``) whose keys are tokens as the vocabulary writes them (``▁ilé``).
        names: (V,) the vocabulary; None where an id has no token.

    Raises:
        InputError: It is not one file, cannot be read, or has none of the tokens.
    """
    if len(paths) != 1 or Path(paths[0]).is_dir():
        raise InputError(
            "--init focus without --corpus takes vectors of tokens: give one text file (.vec) with --vectors, or text "
            "to train them on with --corpus"
        )
    keys, matrix = read_text_vectors(Path(paths[0]))
    ids = {name: number for number, name in enumerate(names) if name is not None}
    rows = [row for row, key in enumerate(keys) if key in ids]
    if not rows:
        few = ", ".join(map(repr, keys[:_SHOWN]))
        raise InputError(
            f"{paths[0]}: none of its {len(keys):,} keys is a token of the new tokenizer (they begin {few}). Give "
            "vectors that were trained on its tokens, or text with --corpus"
        )
    return _space(len(names), np.array([ids[keys[row]] for row in rows], dtype=np.int64), matrix[rows])


def _space(size: int, numbers: NDArray[np.int64], matrix: NDArray[np.float32]) -> Space:
    vectors = np.zeros((size, matrix.shape[1]), dtype=np.float32)
    covered = np.zeros(size, dtype=np.bool_)
    vectors[numbers], covered[numbers] = matrix, True
    return Space(vectors=vectors, covered=covered)
