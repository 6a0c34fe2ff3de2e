"""A task's examples for teachers with tokenizers of their own, and the words that all models have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.alignment import NO_WORD, align_all
from polycompress.evaluation.encoding import Encoded, TaskEncoder, joined_text
from polycompress.evaluation.records import TextExample
from polycompress.pipelines.tuning.data import EncodedPart, by_language, encode_part
from polycompress.training.items import Items
from polycompress.training.own_tokens import OwnTokens

Sides = list[NDArray[np.int64]]


def make_own_tokens(
    parts: Sequence[EncodedPart],
    student: TaskEncoder,
    teachers: Sequence[TaskEncoder | None],
    *,
    stride: int | None,
    words: bool,
) -> OwnTokens:
    """Examples in each teacher's own tokens.

    A sentence that a tokenizer cuts into several windows is shown to a teacher in the window that has most of the words
    that the student's has.

    Args:
        parts: What the student is trained on.
        student: What cut them.
        teachers: What cuts them for each; None: the student's tokens do.
        stride: Tokens that windows share.
        words: Whether models are compared word by word. Words of sentences in words are where their first tokens
            stand; of texts, the shortest stretches over whose ends no model's tokens reach.

    Raises:
        InputError: A tokenizer refuses an example.
    """
    cut = [[_shown(encoder, part, stride) for part in parts] for encoder in teachers]
    items = tuple(
        None if encoder is None else Items(by_language(own))
        for encoder, own in zip(teachers, cut, strict=True)
    )
    found: list[list[Sides]] = []
    if words:
        found = [
            _words_of(part, student, teachers, [own[place] for own in cut])
            for place, part in enumerate(parts)
        ]
    return OwnTokens(
        items=items,
        pad_ids=tuple(student.pad_id if encoder is None else encoder.pad_id for encoder in teachers),
        words=_by_model(parts, found, 1 + len(teachers)) if words else None,
    )


def _shown(encoder: TaskEncoder | None, part: EncodedPart, stride: int | None) -> EncodedPart:
    """A part as a teacher sees it: a row for each of the student's."""
    if encoder is None:
        return part
    own = encode_part(encoder, part.part, part.examples, stride)
    of_example: dict[int, list[int]] = {}
    for number, row in enumerate(own.encoded):
        of_example.setdefault(row.example, []).append(number)
    chosen = [_nearest(row, own.encoded, of_example[row.example]) for row in part.encoded]
    return dataclasses.replace(
        own,
        encoded=tuple(own.encoded[number] for number in chosen),
        items=tuple(own.items[number] for number in chosen),
    )


def _nearest(row: Encoded, others: Sequence[Encoded], numbers: Sequence[int]) -> int:
    """Of some windows of an example the one that has most of a window's words; of equal ones the first."""
    if len(numbers) == 1:
        return numbers[0]
    wanted = _starts(row)
    return max(numbers, key=lambda number: (len(wanted & _starts(others[number])), -number))


def _starts(row: Encoded) -> set[int]:
    return set() if row.word_starts is None else set(row.word_starts.tolist()) - {NO_WORD}


def _words_of(
    part: EncodedPart,
    student: TaskEncoder,
    teachers: Sequence[TaskEncoder | None],
    shown: Sequence[EncodedPart],
) -> list[Sides]:
    """Of each row of a part the words of all models' tokens, the student's first."""
    every = [part, *shown]
    if isinstance(part.examples[0], TextExample):
        texts = cast("Sequence[TextExample]", part.examples)
        own = student.text_offsets(texts)
        offsets = [own, *(own if each is None else each.text_offsets(texts) for each in teachers)]
        return [
            align_all(joined_text(texts[row.example]), [each[row.example] for each in offsets])
            for row in part.encoded
        ]
    return [_common_starts(rows) for rows in zip(*(each.encoded for each in every), strict=True)]


def _common_starts(rows: Sequence[Encoded]) -> Sides:
    """Words whose first token all rows have, numbered from 0."""
    common = np.array(sorted(set.intersection(*map(_starts, rows))), dtype=np.int64)
    found = []
    for row in rows:
        starts = np.asarray(row.word_starts, dtype=np.int64)
        places = np.searchsorted(common, starts)
        found.append(np.where(np.isin(starts, common), places, NO_WORD).astype(np.int64))
    return found


def _by_model(parts: Sequence[EncodedPart], found: Sequence[list[Sides]], models: int) -> Any:
    """Words of each model, of all rows in the order of ``Items``."""
    ordered: dict[str, list[Sides]] = {}
    for part, rows in zip(parts, found, strict=True):
        ordered.setdefault(part.part.language, []).extend(rows)
    flat = [sides for rows in ordered.values() for sides in rows]
    return tuple([sides[model] for sides in flat] for model in range(models))
