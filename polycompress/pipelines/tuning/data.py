"""The examples that a fine-tuning learns from and is chosen by: read, checked, turned into tokens."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.encoding import Encoded, TaskEncoder
from polycompress.evaluation.records import Example, Part, QuestionExample, Split, TextExample, WordsExample
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import load_examples
from polycompress.evaluation.windows import tokens_of_span
from polycompress.languages import Language
from polycompress.pipelines.tuning.config import TRAINED_KINDS
from polycompress.training.items import Item

_HELD_BACK: Final = 10
"""One training example in so many is held back where a task has no examples to choose by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskData:
    """Examples in the source languages."""

    train: tuple[tuple[Part, tuple[Example, ...]], ...]
    dev: tuple[tuple[Part, tuple[Example, ...]], ...]
    """Of the same languages: what a state is chosen by must not know the languages it will be tested in."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPart:
    """One part in tokens."""

    part: Part
    examples: tuple[Example, ...]
    encoded: tuple[Encoded, ...]
    items: tuple[Item, ...]
    """One for each of ``encoded``."""


def check_trainable(task: TaskSpec) -> None:
    """Refuse a task that nothing is trained for.

    Raises:
        InputError: It is one.
    """
    if task.kind not in TRAINED_KINDS:
        raise InputError(
            f"Task {task.id} is not trained for: it asks what a model knows as it is. Run polycompress eval MODEL "
            f"--task {task.id}."
        )


def check_languages(task: TaskSpec, languages: Sequence[Language], data: Path | None) -> list[Part]:
    """The parts of a task that are trained on, in any language; their examples are not read.

    Args:
        task: Which.
        languages: The source languages.
        data: A data directory; None: the hub.

    Raises:
        InputError: A language has none; all such are named.
    """
    wanted = [language.code for language in languages]
    there = task.languages("train", data)
    missing = [code for code in wanted if all(part.language != code for part in there)]
    if missing:
        found = f"it has some in {', '.join(map(str, there))}" if there else "it has none in any language"
        raise InputError(
            f"Task {task.id} has no training examples in {', '.join(missing)}: {found}. Name others with "
            "--train-langs, or another task."
        )
    return list(there)


def read_task_data(
    task: TaskSpec, languages: Sequence[Language], data: Path | None, limit: int | None = None
) -> TaskData:
    """Read the training and the development examples of some languages.

    Args:
        task: Which.
        languages: The source languages.
        data: A data directory; None: the hub.
        limit: Only the first so many training examples of each part.

    Raises:
        InputError: A language has no training examples, or an example is broken.
    """
    there = check_languages(task, languages, data)
    dev_parts = task.languages("dev", data)
    train, dev, notes = [], [], []
    for code in [language.code for language in languages]:
        own = _read(task, there, code, "train", data, limit)
        held_back = _read(task, dev_parts, code, "dev", data, None)
        if not held_back:
            own, held_back = hold_back(own)
            notes.append(
                f"{task.id} has no development examples in {code}: a tenth of the training examples was held back"
            )
        train += own
        dev += held_back
    return TaskData(train=tuple(train), dev=tuple(dev), notes=tuple(notes))


def hold_back(
    parts: Sequence[tuple[Part, tuple[Example, ...]]],
) -> tuple[list[tuple[Part, tuple[Example, ...]]], list[tuple[Part, tuple[Example, ...]]]]:
    """Split off a tenth of the examples by a hash of their keys: the same ones every time.

    Raises:
        InputError: There are too few.
    """
    kept, held = [], []
    for part, examples in parts:
        if len(examples) < 2:
            raise InputError(
                f"{part}: one training example and no development examples, so none can be held back. Raise --limit, "
                "or name another language."
            )
        order = sorted(range(len(examples)), key=lambda place: zlib.crc32(_key(examples[place]).encode()))
        out = set(order[: max(1, len(examples) // _HELD_BACK)])
        kept.append((part, tuple(each for place, each in enumerate(examples) if place not in out)))
        held.append((part, tuple(each for place, each in enumerate(examples) if place in out)))
    return kept, held


def encode_part(
    encoder: TaskEncoder, part: Part, examples: tuple[Example, ...], stride: int | None
) -> EncodedPart:
    """Examples of one part as tokens with labels.

    Raises:
        InputError: The tokenizer refuses them.
    """
    first = examples[0]
    if isinstance(first, TextExample):
        texts = cast("Sequence[TextExample]", examples)
        encoded = encoder.encode_texts(texts)
        labels: list[NDArray[np.int64]] = [
            np.array([texts[row.example].label], dtype=np.int64) for row in encoded
        ]
    elif isinstance(first, WordsExample):
        sentences = cast("Sequence[WordsExample]", examples)
        encoded = encoder.encode_words(sentences, stride)
        labels = [row.word_labels(sentences[row.example].tags) for row in encoded]
    else:
        questions = cast("Sequence[QuestionExample]", examples)
        encoded = encoder.encode_questions(questions, stride)
        labels = [answer_span(questions[row.example], row) for row in encoded]
    items = tuple(
        Item(row.ids, label, row.type_ids, f"{part} {_key(examples[row.example])}")
        for row, label in zip(encoded, labels, strict=True)
    )
    return EncodedPart(part=part, examples=examples, encoded=tuple(encoded), items=items)


def answer_span(question: QuestionExample, row: Encoded) -> NDArray[np.int64]:
    """The first and the last token of the answer in a window: (2,), both 0 where the window does not hold it whole.

    Of several answers the first is learnt.
    """
    if row.offsets is None:
        raise ValueError("only what encode_questions gives has spans")
    answer = question.answers[0]
    span = tokens_of_span(row.offsets, answer.start, answer.start + len(answer.text))
    return np.array(span or (0, 0), dtype=np.int64)


def by_language(parts: Sequence[EncodedPart]) -> list[tuple[str, list[Item]]]:
    """Items of each language, its parts one after another."""
    found: dict[str, list[Item]] = {}
    for part in parts:
        found.setdefault(part.part.language, []).extend(part.items)
    return list(found.items())


def _read(
    task: TaskSpec, there: Sequence[Part], code: str, split: Split, data: Path | None, limit: int | None
) -> list[tuple[Part, tuple[Example, ...]]]:
    return [
        (part, load_examples(task, part, split, data=data, limit=limit))
        for part in there
        if part.language == code
    ]


def _key(example: Any) -> str:
    return str(example.key)
