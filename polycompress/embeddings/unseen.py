"""Vectors of words that the text did not hold, by fastText's model of their n-grams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polycompress.embeddings.alignment import Matrix, normalised
from polycompress.embeddings.vec_binary import open_fasttext
from polycompress.embeddings.vectors_directory import LanguageFiles
from polycompress.errors import InputError


def vectors_of(files: LanguageFiles, words: Sequence[str]) -> Matrix:
    """Vectors of any words of a language, in the space of its directory's own vectors.

    Words that the directory has get the vectors that it has.

    Args:
        files: Of the language, see ``load_directory``.
        words: Spelt as those of the text: lower-cased where these were.

    Returns:
        (n, d) float32; after an alignment by a map, centred and turned as the others.

    Raises:
        InputError: The directory has no model of the language, or a damaged one.
        MissingExtraError: fastText is not installed.
    """
    if files.model is None:
        raise InputError(
            "These vectors have no fastText model, so words without a vector get none. Train with models kept; vectors "
            "made of sentence pairs never have one."
        )
    model = open_fasttext(files.model)
    matrix = np.empty((len(words), model.get_dimension()), np.float32)
    for row, word in enumerate(words):
        matrix[row] = model.get_word_vector(word)
    if files.mean is not None:
        matrix = normalised(matrix, files.mean)
    return matrix if files.rotation is None else matrix @ files.rotation
