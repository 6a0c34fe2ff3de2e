"""The data of a recipe and of its stages: text, tasks, parallel sentences."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from polycompress.corpora import CorpusSpec, PairSpec, Reading, parse_corpora, parse_pairs
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.languages import Language, find_language
from polycompress.pipelines.distilling.recipe_settings import Kind
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.tuning.data import check_trainable

CORPORA: Final = "corpora"
"""As ``transfer``: the recipe's own text."""
_PAIRS: Final = "sentence pairs as LANG-LANG=FILE, one or a list, such as - en-yo=pairs.tsv.gz"


def read_corpora(
    table: Located, name: str, languages: Sequence[Language], reading: Reading
) -> tuple[CorpusSpec, ...]:
    """``[LANG=]PATTERN`` of a field; each that is wrong is a fault."""
    if not table.value(name) or not languages:
        return ()
    return _text(table, name, languages, reading)


def read_task(table: Located, data: str, tasks: Path | None) -> TaskSpec | None:
    """The task of a stage; what is wrong becomes faults of the table."""
    if data != "task":
        for name in ("task", "train_langs", *(("limit",) if data == "text" else ())):
            if table.value(name) is not None:
                table.fault(f"{name} is given, but data is {data}: take data: task, or leave it out")
        return None
    name = table.text("task")
    if not name:
        return None

    def find() -> TaskSpec:
        spec = find_task(name, tasks)
        check_trainable(spec)
        return spec

    return cast("TaskSpec | None", table.tried("task", find))


def read_train_languages(table: Located, data: str, languages: Sequence[Language]) -> tuple[Language, ...]:
    """The languages of a task's training examples: the source's where none are named."""
    if data != "task" or table.value("train_langs") is None:
        return tuple(languages[:1])
    found = [
        table.tried("train_langs", lambda spec=spec: find_language(spec))  # type: ignore[misc]
        for spec in table.texts("train_langs")
    ]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def read_transferred(
    table: Located, kind: Kind, data: str, languages: Sequence[Language], reading: Reading
) -> tuple[tuple[CorpusSpec, ...], bool]:
    """The texts that a teacher answers instead of a task's examples, and whether these are the recipe's."""
    given = table.value("transfer")
    if given is None:
        return (), False
    if data != "task" or kind != "distil":
        table.fault(
            "transfer is given, but only a stage that distils on a task has texts for its teacher to answer"
        )
        return (), False
    if given == CORPORA:
        return (), True
    return (_text(table, "transfer", languages, reading) if languages else ()), False


def read_pair_specs(table: Located, data: str, languages: Sequence[Language]) -> tuple[PairSpec, ...]:
    """Sentences and their translations; what is wrong becomes faults of the table."""
    if data != "parallel":
        if table.value("pairs") is not None:
            table.fault(f"pairs is given, but data is {data}: take data: parallel, or leave it out")
        return ()
    if not languages:
        table.texts("pairs", wanted=_PAIRS)
        return ()
    return table.parsed("pairs", functools.partial(parse_pairs, languages=languages), wanted=_PAIRS)


def _text(
    table: Located, name: str, languages: Sequence[Language], reading: Reading
) -> tuple[CorpusSpec, ...]:
    return table.parsed(
        name,
        functools.partial(
            parse_corpora, languages=languages, option=name, asked_with="languages", reading=reading
        ),
    )
