"""Texts without labels as examples of a task, for a teacher to answer.

Reference: Turc, Chang, Lee and Toutanova, "Well-Read Students Learn Better" (2019), section 2: the transfer set.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from polycompress.corpora import CorpusSpec
from polycompress.corpora.readers import read_texts
from polycompress.errors import InputError
from polycompress.evaluation.records import Example, Kind, Part, TextExample, WordsExample
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.languages import Language
from polycompress.pipelines.tuning.data import TaskData, read_task_data

NO_ANSWER = 0
"""Stands where a label would: it says which words have answers, and is never compared with one."""


def read_transfer(
    task: TaskSpec,
    languages: Sequence[Language],
    data: Path | None,
    limit: int | None,
    corpora: Sequence[CorpusSpec],
) -> TaskData:
    """Texts instead of a task's training examples; the development examples stay.

    Args:
        task: Which.
        languages: Of the development examples.
        data: A data directory; None: the hub.
        limit: Only the first so many texts of each language.
        corpora: The texts, one a line; of pairs, both on a line with a tab between; words are parted by spaces.

    Raises:
        InputError: There is no such text, or a line is no pair.
    """
    known = read_task_data(task, languages, data)
    found: list[tuple[Part, tuple[Example, ...]]] = []
    for code in dict.fromkeys(spec.language.code for spec in corpora):
        texts = itertools.chain.from_iterable(
            read_texts(spec) for spec in corpora if spec.language.code == code
        )
        examples = tuple(
            example_of(task.kind, f"transfer-{number}", text, code)
            for number, text in enumerate(itertools.islice(texts, limit))
        )
        found.append((Part(code, "transfer"), examples))
    counts = ", ".join(f"{len(examples)} in {part.language}" for part, examples in found)
    note = f"learnt from texts without labels, which the teacher answered: {counts}"
    return TaskData(train=tuple(found), dev=known.dev, notes=(*known.notes, note))


def example_of(kind: Kind, key: str, text: str, language: str) -> Example:
    """One line as an example of a kind of task.

    Args:
        kind: Of the task.
        key: Of the example.
        text: The line.
        language: Its code, for messages.

    Raises:
        InputError: It is no pair where one is asked for.
    """
    if kind == "token-classification":
        words = tuple(text.split())
        return WordsExample(key, words, (NO_ANSWER,) * len(words))
    if kind != "pair-classification":
        return TextExample(key, text, None, NO_ANSWER)
    first, tab, second = text.partition("\t")
    if not tab or not first.strip() or not second.strip():
        raise InputError(
            f"transfer, {language}, text {int(key.rpartition('-')[2]) + 1}: is no pair: write both texts on a line, "
            "with a tab between."
        )
    return TextExample(key, first.strip(), second.strip(), NO_ANSWER)
