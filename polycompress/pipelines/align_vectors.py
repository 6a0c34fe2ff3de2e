"""Bring the word vectors of several languages to one space, and judge how well they translate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import polycompress
from polycompress.corpora import parse_pairs
from polycompress.embeddings.alignment import Matrix
from polycompress.embeddings.lexicons import parted
from polycompress.embeddings.vectors_directory import LanguageFiles, save_directory
from polycompress.embeddings.word_vectors import WordVectors, join, of_one_language
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory, check_apart, check_output
from polycompress.pipelines.aligning.asked import Given, parse_vectors, read_given, read_lexicons
from polycompress.pipelines.aligning.joining import make_joint, read_sentences
from polycompress.pipelines.aligning.judging import FLOOR, UNJUDGED, Judged, check_floor
from polycompress.pipelines.aligning.rotating import centred, rotate
from polycompress.pipelines.vectors import Tell

Method = Literal["lexicon", "identical", "joint"]
METHODS: Final[Mapping[str, str]] = {
    "lexicon": "an orthogonal map fitted to words and their translations",
    "identical": "an orthogonal map fitted to what is spelt the same in both languages",
    "joint": "vectors made anew of sentence pairs, spread to the other words",
}
REFINING_ROUNDS: Final = 10
_Made = tuple[list[WordVectors], dict[str, LanguageFiles], dict[str, Judged]]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedVectors:
    """What was written."""

    out: Path
    to: str
    method: str
    languages: dict[str, dict[str, Any]]
    """Of each language but ``to``: ``judged``, and what it was aligned with."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"out": str(self.out), "to": self.to, "method": self.method, "languages": self.languages}


def align_vectors(
    vectors: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    method: Method | None = None,
    lexicon: Sequence[str] = (),
    held_out: Sequence[str] = (),
    pairs: Sequence[str] = (),
    refine: bool = False,
    width: int | None = None,
    floor: float = FLOOR,
    force: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    command: Sequence[str] = (),
    tell: Tell | None = None,
) -> AlignedVectors:
    """Bring vectors of several languages to one space.

    Each language is judged by word translation on words that nothing was learnt from, before and after: on
    ``held_out``, else on a seeded tenth of its lexicon (``lexicon``), on all of it (the other methods), or on held-out
    sentences (``joint`` where there is no lexicon).

    Args:
        vectors: ``[LANG=]PATH`` of directories and files.
        out: The directory to write.
        to: The language whose space the others are brought to.
        method: One of ``METHODS``; None: ``joint`` where there are pairs, else ``lexicon``.
        lexicon: ``[LANG=]FILE`` of words and translations, see ``read_lexicon``.
        held_out: The same, to judge by.
        pairs: ``LANG-LANG=FILE`` of sentences and translations, see ``parse_pairs``.
        refine: Whether a map is refined by the dictionary that it induces, as long as that helps.
        width: Values of joint vectors; None: those of the vectors given.
        floor: Precision at 1 below which the result is refused.
        force: Write it all the same.
        seed: Of what is held out, and of the joint method.
        overwrite: Whether an existing directory is replaced.
        command: What to record as the command.
        tell: Told what is being done.

    Raises:
        InputError: Something given is wrong or missing, or a language comes out below the floor; nothing was written.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    specs = [vectors] if isinstance(vectors, str) else list(vectors)
    for spec in specs:
        check_apart(place, parse_vectors(spec)[1])
    chosen = method or ("joint" if pairs else "lexicon")
    _check_request(chosen, lexicon, pairs, refine, width, floor)
    if tell is not None:
        tell("reading vectors", 0, None)
    given = read_given(specs, to)
    known = read_lexicons(lexicon, given, "--lexicon")
    aside = read_lexicons(held_out, given, "--held-out")
    if chosen == "joint":
        parts, files, judged = _joint(
            given, pairs, {**known, **aside}, width or given.vectors.width, seed, tell
        )
    else:
        parts, files, judged = _rotated(given, chosen, known, aside, refine, seed, tell)
    check_floor(judged, floor, force=force)
    record = {
        "made_by": f"polycompress {polycompress.__version__}",
        "command": list(command),
        "to": given.target.code,
        "floor": floor,
        "forced": force,
    }
    with atomic_directory(place, overwrite=overwrite) as building:
        save_directory(building, join(parts), files, record)
    languages = {code: dict(files[code].record["alignment"]) for code in judged}
    return AlignedVectors(out=place, to=given.target.code, method=chosen, languages=languages)


def _check_request(
    method: str, lexicon: Sequence[str], pairs: Sequence[str], refine: bool, width: int | None, floor: float
) -> None:
    faults = []
    if method not in METHODS:
        faults.append(f"there is no method {method!r}, only {', '.join(METHODS)}")
    if method == "lexicon" and not lexicon:
        faults.append("the method lexicon needs one: give --lexicon FILE (or --method identical, or --pairs)")
    if method == "joint" and not pairs:
        faults.append("the method joint needs sentence pairs: give --pairs LANG-LANG=FILE")
    if method != "joint" and pairs:
        faults.append(
            f"the method {method} reads no sentence pairs: leave --pairs out, or take --method joint"
        )
    if method == "joint" and refine:
        faults.append("the method joint fits no map that could be refined: leave --refine out")
    if width is not None and (method != "joint" or not 1 <= width <= 4096):
        faults.append(f"--dim {width}: only the method joint makes vectors of another width, of 1 to 4096")
    if not 0 <= floor <= 1:
        faults.append(f"--floor {floor}: a share from 0 to 1 is meant")
    if faults:
        raise InputError("These vectors cannot be aligned so: " + "; ".join(faults) + ".")


def _rotated(
    given: Given,
    method: str,
    known: Mapping[str, list[tuple[str, str]]],
    aside: Mapping[str, list[tuple[str, str]]],
    refine: bool,
    seed: int,
    tell: Tell | None,
) -> _Made:
    if method == "lexicon" and (missing := [each.code for each in given.others if each.code not in known]):
        raise InputError(
            f"There is no lexicon of {', '.join(missing)} with {given.target.code}: give one with --lexicon."
        )
    target, mean = centred(given.vectors, given.target.code)
    parts = [_part(given, given.target.code, target)]
    own = given.files[given.target.code]
    record = {**own.record, "alignment": {"to": given.target.code, "method": method}}
    files = {given.target.code: LanguageFiles(record=record, model=own.model, mean=mean)}
    judged = {}
    for language in given.others:
        if tell is not None:
            tell("aligning", 1, len(given.others))
        code = language.code
        learn, judge = _to_learn(method, known.get(code, []), aside.get(code, []), seed)
        made = rotate(
            given, language, target, learn=learn, judge=judge, rounds=REFINING_ROUNDS if refine else 0
        )
        judged[code] = made.judged
        told: dict[str, Any] = {"to": given.target.code, "method": method, "anchors": made.anchors}
        if made.refined is not None:
            told["refined"] = {"mean_cosines": made.refined.cosines, "pairs": made.refined.induced}
        told["judged"] = made.judged.as_dict()
        own = given.files[code]
        parts.append(_part(given, code, made.matrix))
        files[code] = LanguageFiles(
            record={**own.record, "alignment": told}, model=own.model, rotation=made.rotation, mean=made.mean
        )
    return parts, files, judged


def _to_learn(
    method: str, known: list[tuple[str, str]], aside: list[tuple[str, str]], seed: int
) -> tuple[list[tuple[str, str]] | None, list[tuple[str, str]]]:
    """What a map is fitted to, and what it is judged by; the two have no pair in common."""
    if method == "identical":
        return None, [pair for pair in (aside or known) if pair[0] != pair[1]]
    if not aside:
        return parted(known, seed=seed)
    judge = set(aside)
    return [pair for pair in known if pair not in judge], aside


def _joint(
    given: Given,
    pairs: Sequence[str],
    judge: Mapping[str, list[tuple[str, str]]],
    width: int,
    seed: int,
    tell: Tell | None,
) -> _Made:
    specs = parse_pairs(pairs, [given.target, *given.others], option="--pairs")
    if tell is not None:
        tell("reading pairs", 0, None)
    sentences = read_sentences(specs, given)
    if tell is not None:
        tell("decomposing", 0, None)
    made = make_joint(given, sentences, judge, width=width, seed=seed)
    parts, files = [], {}
    for code in made.vectors.languages:
        told: dict[str, Any] = {"to": given.target.code, "method": "joint", "words_spread": made.spread[code]}
        if code != given.target.code:
            told |= {"pairs": made.pairs[code], "judged": made.judged.get(code, UNJUDGED).as_dict()}
        files[code] = LanguageFiles(record={**given.files[code].record, "alignment": told})
        rows = made.vectors.rows(code)
        counts = made.vectors.counts
        words = [made.vectors.words[row] for row in rows.tolist()]
        parts.append(
            of_one_language(code, words, made.vectors.matrix[rows], None if counts is None else counts[rows])
        )
    return parts, files, dict(made.judged)


def _part(given: Given, code: str, matrix: Matrix) -> WordVectors:
    rows = given.vectors.rows(code)
    counts = given.vectors.counts
    words = [given.vectors.words[row] for row in rows.tolist()]
    return of_one_language(code, words, matrix, None if counts is None else counts[rows])
