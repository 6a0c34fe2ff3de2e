"""Word vectors: trained on each language's text, brought to one space, shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import polycompress
from polycompress.corpora import CorpusSpec, Reading, TextReader, parse_corpora
from polycompress.embeddings.alignment import normalised
from polycompress.embeddings.loading import load_vectors
from polycompress.embeddings.training_vectors import STEPS, VectorTraining, train_fasttext, write_words
from polycompress.embeddings.vec_binary import read_fasttext
from polycompress.embeddings.vectors_directory import LanguageFiles, load_directory, save_directory
from polycompress.embeddings.word_splitting import lowered, splitter
from polycompress.embeddings.word_vectors import WordVectors, join, of_one_language
from polycompress.errors import InputError
from polycompress.languages import Language, find_language
from polycompress.modeldir.atomic import atomic_directory, check_output
from polycompress.pipelines.aligning.asked import parse_vectors

Tell = Callable[[str, int, int | None], None]
"""Called with what is being done, how much more of it is done, and how much there is in all where that is known."""
NEAREST: Final = 5
"""Neighbours of a word that are shown in each language."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedVectors:
    """What was written."""

    out: Path
    width: int
    languages: dict[str, dict[str, Any]]
    """Of each: ``words`` with a vector, ``tokens`` of the text, its ``corpus``, the ``training``."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"out": str(self.out), "width": self.width, "languages": self.languages}


def train_vectors(
    corpus: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    options: VectorTraining | None = None,
    field: str | None = None,
    keep_models: bool = True,
    overwrite: bool = False,
    command: Sequence[str] = (),
    tell: Tell | None = None,
) -> TrainedVectors:
    """Train vectors of each language's words on its own text.

    Args:
        corpus: ``LANG=PATTERN``; of a language that several name, all files are read.
        out: The directory to write.
        options: How to train.
        field: Column of the text in files that have columns.
        keep_models: Whether fastText's models are kept, for vectors of words that the text does not hold.
        overwrite: Whether an existing directory is replaced.
        command: What to record as the command.
        tell: Told what is being done.

    Raises:
        InputError: A pattern does not say its language or names nothing, or the text has no frequent words; nothing was
            written.
        MissingExtraError: fastText is not installed.
    """
    place, how = Path(out), options or VectorTraining()
    check_output(place, overwrite=overwrite)
    specs = _by_language([corpus] if isinstance(corpus, str) else corpus, field)
    parts, files = [], {}
    with atomic_directory(place, overwrite=overwrite) as building:
        for language, own in specs.items():
            part, files[language.code] = _train_one(language, own, how, building, keep_models, tell)
            parts.append(part)
        record = {"made_by": f"polycompress {polycompress.__version__}", "command": list(command), "to": None}
        save_directory(building, join(parts), files, record)
    languages = {part.languages[0]: {"words": len(part), **files[part.languages[0]].record} for part in parts}
    return TrainedVectors(out=place, width=how.width, languages=languages)


def show_vectors(spec: str, *, word: str | None = None, limit: int = NEAREST) -> dict[str, Any]:
    """What vectors hold, and perhaps what is near to a word.

    Args:
        spec: ``[LANG=]PATH`` of a directory or a file.
        word: ``LANG=WORD``; its nearest words of each language are found.
        limit: How many of each.

    Raises:
        InputError: The vectors cannot be read, or the word has none.
    """
    language, path = parse_vectors(spec)
    record: dict[str, Any] = {}
    if path.is_dir() and language is None:
        found = load_directory(path)
        vectors, record = found.vectors, dict(found.record)
    else:
        vectors = load_vectors(path, language)
    own = record.get("languages", {})
    languages = {
        code: {
            "words": len(vectors.rows(code)),
            **{key: value for key, value in own.get(code, {}).items() if key != "words"},
        }
        for code in vectors.languages
    }
    near = _near(vectors, word, limit) if word is not None else None
    return {
        "path": str(path),
        "width": vectors.width,
        "words": len(vectors),
        "to": record.get("to"),
        "languages": languages,
        "nearest": near,
    }


def _by_language(corpus: Sequence[str], field: str | None) -> dict[Language, list[CorpusSpec]]:
    languages = []
    for spec in corpus:
        name, equals, _ = spec.partition("=")
        if not equals or os.sep in name:
            raise InputError(f"--corpus {spec!r} does not say its language: write it like yo={spec}.")
        languages.append(find_language(name))
    found: dict[Language, list[CorpusSpec]] = {}
    for each in parse_corpora(corpus, list(dict.fromkeys(languages)), reading=Reading(field=field)):
        found.setdefault(each.language, []).append(each)
    if not found:
        raise InputError("There is no text to train on: give some with --corpus LANG=FILES.")
    return found


def _train_one(
    language: Language,
    specs: Sequence[CorpusSpec],
    how: VectorTraining,
    building: Path,
    keep_model: bool,
    tell: Tell | None,
) -> tuple[WordVectors, LanguageFiles]:
    text, model = building / f".{language.code}.txt", building / f"{language.code}.bin"
    readers = [TextReader(spec.files, spec.reading) for spec in specs]
    cut = splitter(language, lower=how.lower)
    with text.open("w", encoding="utf-8", newline="\n") as file:
        tokens = write_words(_told(_words(readers, cut), f"reading {language.code}", tell), file)
    try:
        label = f"training {language.code}"
        train_fasttext(
            text, model, how, progress=(lambda done: tell(label, done, STEPS)) if tell is not None else None
        )
    except InputError as error:
        if type(error) is not InputError:  # a package that is missing is of no language
            raise
        raise InputError(f"{language.code}: {error}") from error
    finally:
        text.unlink()
    words, matrix, counts = read_fasttext(model)
    if not keep_model:
        model.unlink()
    corpus = [each for reader in readers for each in reader.provenance()]
    record = {
        "tokens": tokens,
        "corpus": corpus,
        "training": {"method": "fastText skip-gram", **how.as_dict()},
        "alignment": None,
    }
    part = of_one_language(language.code, words, matrix, counts)
    return part, LanguageFiles(record=record, model=model if keep_model else None)


def _words(readers: Sequence[TextReader], cut: Callable[[str], list[str]]) -> Iterator[list[str]]:
    for reader in readers:
        for text in reader:
            yield cut(text)


def _told(texts: Iterator[list[str]], label: str, tell: Tell | None) -> Iterator[list[str]]:
    for number, words in enumerate(texts, start=1):
        if tell is not None and number % 1000 == 0:
            tell(label, 1000, None)
        yield words


def _near(vectors: WordVectors, spec: str, limit: int) -> dict[str, list[tuple[str, float]]]:
    name, _, word = spec.partition("=")
    code = find_language(name).code
    if code not in vectors.languages:
        raise InputError(
            f"--word {spec!r}: there are no vectors of {code}, only of {', '.join(vectors.languages)}."
        )
    rows = vectors.rows(code).tolist()
    at = {vectors.words[row]: row for row in rows}
    row = at.get(word, at.get(lowered(word)))
    if row is None:
        raise InputError(f"--word {spec!r}: {word!r} has no vector among the {len(rows)} words of {code}.")
    units = normalised(vectors.matrix, np.zeros(vectors.width, np.float32))
    similarity: NDArray[np.float32] = units @ units[row]
    similarity[row] = -np.inf
    near = {}
    for each in vectors.languages:
        own = vectors.rows(each)
        best = own[np.argsort(-similarity[own], kind="stable")[:limit]]
        near[each] = [
            (vectors.words[place], float(similarity[place])) for place in best.tolist() if place != row
        ]
    return near
