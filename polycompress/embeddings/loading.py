"""Read word vectors of any format known here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora.unpacking import open_regular
from polycompress.embeddings.keys import read_key
from polycompress.embeddings.vec_binary import is_fasttext, is_word2vec, read_fasttext, read_word2vec
from polycompress.embeddings.vec_text import read_text_vectors
from polycompress.embeddings.vectors_directory import load_directory
from polycompress.embeddings.word_vectors import WordVectors, of_one_language, select_languages
from polycompress.errors import InputError
from polycompress.languages import Language

_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]")
_NUMPY: Final = b"\x93NUMPY"
_MAX_LANGUAGES: Final = 2**15 - 1


def load_vectors(path: Path, language: Language | None = None, *, limit: int | None = None) -> WordVectors:
    """Read word vectors, the format told by the content.

    Known are a directory of ``polycompress vectors``, the text format (``.vec``, also compressed), word2vec's binary
    format and fastText's models. Keys of files are words of the language given; without one they tell it themselves as
    those of ColexNet+ do (``yor:ilé``, no code for English), see ``read_key``.

    Args:
        path: The directory or file.
        language: Of a file's words; of a directory, the one language wanted.
        limit: Of a text or word2vec file, the first so many vectors only.

    Raises:
        InputError: The format is not known, the file is damaged (line or word named), or does not tell its languages.
        MissingExtraError: It is a fastText model, and the library is not installed.
    """
    if path.is_dir():
        vectors = load_directory(path).vectors
        return vectors if language is None else select_languages(vectors, [language.code])
    counts = None
    _refuse_pickles(path)
    if is_fasttext(path):
        if language is None:
            raise _no_language(path)
        keys, matrix, counts = read_fasttext(path)
    elif is_word2vec(path):
        keys, matrix = read_word2vec(path, limit=limit)
    else:
        keys, matrix = read_text_vectors(path, limit=limit)
    if language is not None:
        return of_one_language(language.code, keys, matrix, counts)
    return _by_keys(path, keys, matrix)


def _by_keys(path: Path, keys: list[str], matrix: NDArray[np.float32]) -> WordVectors:
    read = [read_key(key) for key in keys]
    if all(word == key for (_, word), key in zip(read, keys, strict=True)):
        raise _no_language(path)
    languages = {code: place for place, code in enumerate(dict.fromkeys(code for code, _ in read))}
    if len(languages) > _MAX_LANGUAGES:
        raise InputError(f"{path}: its keys name {len(languages)} languages, more than there can be.")
    try:
        return WordVectors(
            words=tuple(word for _, word in read),
            languages=tuple(languages),
            language_of=np.array([languages[code] for code, _ in read], np.int16),
            matrix=matrix,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _refuse_pickles(path: Path) -> None:
    with open_regular(path) as file:
        head = file.read(8)
    if _PICKLE.match(head) or head.startswith(_NUMPY):
        raise InputError(
            f"{path}: is a pickle or a numpy file, as gensim saves its own format; pickles can run any code and are "
            "not read. Where you trust it, load it with gensim (KeyedVectors.load) and write "
            "save_word2vec_format('vectors.vec')."
        )


def _no_language(path: Path) -> InputError:
    return InputError(
        f"{path}: does not say of which language its words are. Write LANG={path}, or give a file whose keys tell it "
        "(yor:ilé)."
    )
