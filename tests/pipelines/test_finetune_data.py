from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.decoding import best_span
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.records import Part
from polycompress.evaluation.tasks import find_task
from polycompress.languages import find_languages
from polycompress.pipelines.tuning.data import (
    answer_span,
    by_language,
    check_trainable,
    encode_part,
    hold_back,
    read_task_data,
)
from tests.evaluation.tiny_task_models import encoder, question, sentence, text
from tests.pipelines.tiny_pack import make_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("pack"))


def test_training_and_development_examples_of_the_source_languages_alone(pack: Path) -> None:
    found = read_task_data(find_task("sib200"), find_languages("en,de"), pack, limit=5)
    assert [(str(part), len(examples)) for part, examples in found.train] == [
        ("eng-Latn", 5),
        ("deu-Latn", 5),
    ]
    assert [(str(part), len(examples)) for part, examples in found.dev] == [
        ("eng-Latn", 14),
        ("deu-Latn", 14),
    ]
    assert found.notes == ()


def test_a_language_without_training_examples(pack: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_task_data(find_task("sib200"), find_languages("en,fr,it"), pack)
    assert str(caught.value) == (
        "Task sib200 has no training examples in fra-Latn, ita-Latn: it has some in deu-Latn, eng-Latn, swh-Latn. Name "
        "others with --train-langs, or another task."
    )
    with pytest.raises(InputError, match="has no training examples in ces-Latn: it has none in any language"):
        read_task_data(find_task("nli-jnli"), find_languages("cs"), pack)


@pytest.mark.parametrize("name", ["retrieval-pud", "word-translation"])
def test_tasks_that_nothing_is_trained_for(name: str) -> None:
    with pytest.raises(
        InputError, match=rf"Task {name} is not trained for.*polycompress eval MODEL --task {name}"
    ):
        check_trainable(find_task(name))


def test_a_tenth_is_held_back_where_there_is_nothing_to_choose_by(pack: Path) -> None:
    found = read_task_data(find_task("ner-wikiann"), find_languages("en"), pack)
    (_, kept), (_, held) = found.train[0], found.dev[0]
    assert (len(kept), len(held)) == (13, 1)
    assert held[0] not in kept
    assert "ner-wikiann has no development examples in eng-Latn: a tenth" in found.notes[0]


@given(st.sets(st.text("abc", min_size=1, max_size=6), min_size=2, max_size=40))
def test_the_same_examples_are_held_back_every_time(keys: set[str]) -> None:
    examples = tuple(text("a", key=key) for key in sorted(keys))
    part = Part("deu-Latn")
    ((_, kept),), ((_, held),) = hold_back([(part, examples)])
    assert sorted((*kept, *held), key=lambda each: each.key) == list(examples)
    assert len(held) == max(1, len(examples) // 10)
    ((_, kept_again),), _ = hold_back([(part, examples[::-1])])
    assert set(kept_again) == set(kept)


def test_one_example_cannot_be_split() -> None:
    with pytest.raises(InputError, match="deu-Latn: one training example and no development examples"):
        hold_back([(Part("deu-Latn"), (text("a"),))])


def test_classes_and_segments() -> None:
    examples = (dataclasses.replace(text("Ein Fuchs.", "Ein Hund."), label=2), text("Der Hund."))
    part = encode_part(encoder(), Part("deu-Latn"), examples, None)
    assert [item.labels.tolist() for item in part.items] == [[2], [0]]
    assert part.items[0].name == "deu-Latn 0"
    assert by_language([part, part]) == [("deu-Latn", [*part.items, *part.items])]


def test_tags_stand_at_first_tokens() -> None:
    sentences = (sentence("Nairobi", "ni", "mji", tags=(1, 0, 2)),)
    part = encode_part(encoder(), Part("swh-Latn"), sentences, None)
    labels = part.items[0].labels
    starts = part.encoded[0].word_starts
    assert starts is not None
    assert labels[starts >= 0].tolist() == [1, 0, 2]
    assert set(labels[starts < 0].tolist()) == {-100}


CONTEXT = "Nairobi ni mji mkuu wa Kenya na jiji kubwa zaidi."


@pytest.mark.parametrize("answer", ["Nairobi", "mji mkuu", "Kenya", "zaidi", CONTEXT])
def test_the_span_that_is_learnt_reads_as_the_answer(answer: str) -> None:
    asked = question(CONTEXT, "Ni nini?", answer)
    part = encode_part(encoder(), Part("swh-Latn"), (asked,), None)
    (row,) = part.encoded
    span = part.items[0].labels
    scores = np.zeros((len(row), 2), dtype=np.float32)
    scores[span[0], 0] = scores[span[1], 1] = 5.0
    found = best_span(scores, offsets_of(row), 64)
    assert found is not None
    begin, end = offsets_of(row)[found[1], 0], offsets_of(row)[found[2], 1]
    assert CONTEXT[begin:end].startswith(answer.rstrip("."))


def test_windows_without_the_answer_point_at_the_beginning() -> None:
    long = " ".join([CONTEXT] * 8) + " Mombasa."
    asked = question(long, "Wapi?", "Mombasa")
    part = encode_part(encoder(), Part("swh-Latn"), (asked,), None)
    assert len(part.items) > 1
    spans = [item.labels.tolist() for item in part.items]
    assert spans[0] == [0, 0]
    assert spans[-1][0] > 0


def test_an_answer_that_a_window_cuts_is_not_learnt_there() -> None:
    asked = question("ab cd ef", "?", "cd ef")
    row = Encoded(
        0, np.arange(4, dtype=np.int32), offsets=np.array([[-1, -1], [0, 2], [3, 5], [-1, -1]], np.int32)
    )
    assert answer_span(asked, row).tolist() == [0, 0]
    whole = dataclasses.replace(row, offsets=np.array([[-1, -1], [0, 2], [3, 5], [6, 8]], np.int32))
    assert answer_span(asked, whole).tolist() == [2, 3]


def offsets_of(row: Encoded) -> Any:
    assert row.offsets is not None
    return row.offsets
