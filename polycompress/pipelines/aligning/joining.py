"""Languages' vectors made together of sentence pairs, and spread to the words that no pair holds."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import PairSpec, is_held_out, read_pairs
from polycompress.embeddings.alignment import Matrix
from polycompress.embeddings.joint import joint_vectors, sentence_vectors, spread
from polycompress.embeddings.precision import Precision, precision_at_1
from polycompress.embeddings.word_vectors import WordVectors, join, of_one_language
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.pipelines.aligning.asked import Given, places, splitter_of
from polycompress.pipelines.aligning.judging import UNJUDGED, Judged, translation
from polycompress.pipelines.aligning.rotating import centred

HELD_OUT_SHARE: Final = 0.1
"""Of the sentences, where no lexicon is there to judge by."""
MAX_SENTENCES: Final = 500_000
"""Of a language: all of them are held in memory."""

Sentences = list[tuple[list[str], list[str]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Joined:
    """All languages' vectors in one space."""

    vectors: WordVectors
    pairs: Mapping[str, int]
    """Of each language how many sentence pairs were learnt from."""
    spread: Mapping[str, int]
    """Of each language how many words no pair holds, so that their vectors are means of their neighbours'."""
    judged: Mapping[str, Judged]


def read_sentences(specs: Sequence[PairSpec], given: Given) -> dict[str, Sentences]:
    """Sentence pairs of each language with the target, as words.

    Raises:
        InputError: A language has none (all such are named), a file is of two other languages, or there are too many.
    """
    found: dict[str, Sentences] = {}
    cutters: dict[str, Callable[[str], list[str]]] = {}
    for spec in specs:
        sides = [spec.source, spec.target]
        if given.target not in sides:
            raise InputError(
                f"--pairs {spec.name}: none of the two is {given.target.code}, the language of --to."
            )
        for language in sides:
            if language.code not in cutters:
                cutters[language.code] = splitter_of(given.vectors, language)
        other = sides[0] if sides[1] == given.target else sides[1]
        own = found.setdefault(other.code, [])
        for first, second in read_pairs(spec):
            words = cutters[spec.source.code](first), cutters[spec.target.code](second)
            own.append(words if spec.target == given.target else words[::-1])
            if len(own) > MAX_SENTENCES:
                raise InputError(f"--pairs {spec.name}: more than {MAX_SENTENCES} pairs. Give fewer.")
    missing = [language.code for language in given.others if not found.get(language.code)]
    if missing:
        options = " ".join(f"--pairs {given.target.code}-{code}=FILE" for code in missing)
        raise InputError(f"There are no sentence pairs of {', '.join(missing)}: give some with {options}.")
    return found


def make_joint(
    given: Given,
    sentences: Mapping[str, Sentences],
    judge: Mapping[str, Sequence[tuple[str, str]]],
    *,
    width: int,
    seed: int,
) -> Joined:
    """Make vectors of all languages together, and judge each.

    A language without a lexicon is judged by sentences: a tenth of them is held out and sought by the mean vectors of
    their words, with vectors made of the rest; those that are kept are then made of all.

    Args:
        given: The vectors of each language's own text, which say what is near to words that no pair holds.
        sentences: Pairs of each other language with the target.
        judge: Words and translations by language; those not in it are judged by sentences.
        width: Values of a vector.
        seed: Of the decomposition, and of what is held out.
    """
    by_sentences = [language for language in given.others if not judge.get(language.code)]
    judged: dict[str, Judged] = {}
    if by_sentences:
        kept, aside = _parted(sentences, seed)
        trial = _fit(given, kept, width, seed).vectors
        judged |= {
            each.code: _judged_by_sentences(given, trial, each, aside[each.code]) for each in by_sentences
        }
    made = _fit(given, sentences, width, seed)
    for language in given.others:
        if pairs := judge.get(language.code):
            old, new = (
                (places(one, language.code), places(one, given.target.code))
                for one in (given.vectors, made.vectors)
            )
            before = translation(pairs, old, _both(given, language))
            matrices = _rows(made.vectors, language.code), _rows(made.vectors, given.target.code)
            judged[language.code] = Judged(
                by="lexicon", before=before, after=translation(pairs, new, matrices)
            )
    return Joined(vectors=made.vectors, pairs=made.pairs, spread=made.spread, judged=judged)


def _fit(given: Given, sentences: Mapping[str, Sentences], width: int, seed: int) -> Joined:
    """Vectors of all words, without judging them."""
    languages = [given.target, *given.others]
    ids: dict[tuple[str, str], int] = {}
    # The same target sentence is one column, whatever it is paired with.
    columns: dict[tuple[str, ...], int] = {}
    rows, found = array("q"), array("q")
    for code, own in sentences.items():
        for words, goals in own:
            column = columns.setdefault(tuple(goals), len(columns))
            for of, side in ((code, words), (given.target.code, goals)):
                rows.extend(ids.setdefault((of, word), len(ids)) for word in side)
                found.extend([column] * len(side))
    if not rows:
        raise InputError("The sentence pairs hold no words. Give others.")
    words_at = np.array(rows, np.int64)
    numbered = np.unique(np.array(found, np.int64), return_inverse=True)[
        1
    ]  # pairs without words are left out
    matrix = joint_vectors(words_at, numbered, width, seed=seed)
    heard = np.bincount(words_at, minlength=len(ids))
    parts, lacking = [], {}
    for language in languages:
        own_ids = {word: row for (code, word), row in ids.items() if code == language.code}
        part, lacking[language.code] = _completed(given.vectors, language, own_ids, matrix, heard)
        parts.append(part)
    return Joined(
        vectors=join(parts),
        pairs={code: len(own) for code, own in sentences.items()},
        spread=lacking,
        judged={},
    )


def _completed(
    vectors: WordVectors, language: Language, ids: Mapping[str, int], matrix: Matrix, heard: NDArray[np.int64]
) -> tuple[WordVectors, int]:
    """A language's own words in their order, then those that only pairs hold; and how many words no pair holds."""
    rows = vectors.rows(language.code)
    words = [vectors.words[row] for row in rows.tolist()]
    new = sorted(ids.keys() - set(words))
    out = np.zeros((len(words) + len(new), matrix.shape[1]), np.float32)
    known = np.array([place for place, word in enumerate(words) if word in ids], np.int64)
    unknown = np.array([place for place, word in enumerate(words) if word not in ids], np.int64)
    if len(known):
        out[known] = matrix[[ids[words[place]] for place in known.tolist()]]
        own = vectors.matrix[rows]
        out[unknown] = spread(own[known], out[known], own[unknown])
    elif len(unknown):
        raise InputError(
            f"{language.code}: no word of the vectors occurs in the sentence pairs. Are they of this language, and "
            "spelt alike?"
        )
    for place, word in enumerate(new, start=len(words)):
        out[place] = matrix[ids[word]]
    counts = None
    if vectors.counts is not None:
        added = np.array([heard[ids[word]] for word in new], np.int64)
        counts = np.concatenate([vectors.counts[rows], added])
    return of_one_language(language.code, [*words, *new], out, counts), len(unknown)


def _parted(
    sentences: Mapping[str, Sentences], seed: int
) -> tuple[dict[str, Sentences], dict[str, Sentences]]:
    """Pairs to learn from and pairs aside; which one depends on the target's sentence alone."""
    kept: dict[str, Sentences] = {}
    aside: dict[str, Sentences] = {}
    for code, own in sentences.items():
        kept[code], aside[code] = [], []
        for pair in own:
            held_out = is_held_out(f"{seed}\t{' '.join(pair[1])}", HELD_OUT_SHARE)
            (aside if held_out else kept)[code].append(pair)
    if not all(kept.values()):
        raise InputError(
            "There are too few sentence pairs to hold some out. Give more, or a lexicon with --held-out."
        )
    return kept, aside


def _judged_by_sentences(given: Given, trial: WordVectors, language: Language, aside: Sentences) -> Judged:
    if not aside:
        return UNJUDGED
    before = _retrieval(given.vectors, given, language, aside, _both(given, language))
    matrices = _rows(trial, language.code), _rows(trial, given.target.code)
    return Judged(by="sentences", before=before, after=_retrieval(trial, given, language, aside, matrices))


def _retrieval(
    vectors: WordVectors, given: Given, language: Language, aside: Sentences, matrices: tuple[Matrix, Matrix]
) -> Precision:
    """Precision at 1 of sentences sought by the mean vectors of their words."""
    known = places(vectors, language.code), places(vectors, given.target.code)
    sides = [
        sentence_vectors([_known(pair[side], known[side]) for pair in aside], matrices[side])
        for side in (0, 1)
    ]
    asked = {place: {place} for place in range(len(aside)) if sides[0][place].any() and sides[1][place].any()}
    return precision_at_1(sides[0], sides[1], asked, of=len(aside))


def _known(words: Sequence[str], known: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([known[word] for word in words if word in known], np.int64)


def _rows(vectors: WordVectors, code: str) -> Matrix:
    return vectors.matrix[vectors.rows(code)]


def _both(given: Given, language: Language) -> tuple[Matrix, Matrix]:
    """The vectors as they came, of this language and of the target."""
    return centred(given.vectors, language.code)[0], centred(given.vectors, given.target.code)[0]
