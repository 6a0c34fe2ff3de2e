"""Entities, by hand and against seqeval, on tags that no one should have written too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.metrics import entity_counts, entity_f1
from polycompress.evaluation.metrics.entities import Scores, entities, f1_of_counts, scores_of_counts

IOB2 = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TAGS = [*IOB2, "E-PER", "S-PER", "E-LOC", "S-LOC", "B-a-b", "I-a-b"]


def sentences(tags: list[str]) -> st.SearchStrategy[list[tuple[list[str], list[str]]]]:
    words = st.lists(st.tuples(st.sampled_from(tags), st.sampled_from(tags)), max_size=12)
    apart = words.map(lambda pairs: ([first for first, _ in pairs], [second for _, second in pairs]))
    return st.lists(apart, min_size=1, max_size=5)


def seqeval() -> tuple[Any, Any]:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    from seqeval.metrics.sequence_labeling import get_entities

    return metrics, get_entities


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("", []),
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("LOC", 3, 3), ("PER", 0, 1)]),
        ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("I-PER I-PER O I-LOC", [("LOC", 3, 3), ("PER", 0, 1)]),  # nothing began, and still they are entities
        ("B-PER I-LOC I-LOC", [("LOC", 1, 2), ("PER", 0, 0)]),  # another type begins another entity
        ("O I-PER B-PER", [("PER", 1, 1), ("PER", 2, 2)]),
        ("B-PER I-PER E-PER I-PER S-PER", [("PER", 0, 2), ("PER", 3, 3), ("PER", 4, 4)]),
        ("B-a-b I-a-b I-a", [("a", 2, 2), ("a-b", 0, 1)]),
    ],
)
def test_entities_by_hand(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert sorted(entities(tags.split())) == found


def test_scores_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"], ["O"]]
    predicted = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "O"], ["B-LOC"]]
    assert entity_counts(predicted, gold).tolist() == [[1, 2, 2], [0, 0, 1], [0, 1, 0]]
    assert entity_f1(predicted, gold) == Scores(precision=1 / 3, recall=1 / 3, f1=1 / 3)
    # the end is wrong: neither found nor half found
    assert entity_f1([["B-PER", "O"]], [["B-PER", "I-PER"]]) == Scores(0.0, 0.0, 0.0)
    # there is nothing to find, and nothing was found
    assert entity_f1([["O"]], [["O"]]) == Scores(0.0, 0.0, 0.0)
    assert entity_f1([], []) == Scores(0.0, 0.0, 0.0)


@given(sentences(TAGS))
def test_as_seqeval_says(pairs: list[tuple[list[str], list[str]]]) -> None:
    metrics, get_entities = seqeval()
    predicted, gold = [first for first, _ in pairs], [second for _, second in pairs]
    for tags in predicted:
        assert entities(tags) == set(get_entities(list(tags)))
    scores = entity_f1(predicted, gold)
    wanted = [
        function(gold, predicted, zero_division=0)
        for function in (metrics.precision_score, metrics.recall_score, metrics.f1_score)
    ]
    assert [scores.precision, scores.recall, scores.f1] == pytest.approx(wanted)


@given(sentences(IOB2))
def test_counts_make_the_scores(pairs: list[tuple[list[str], list[str]]]) -> None:
    predicted, gold = [first for first, _ in pairs], [second for _, second in pairs]
    counts = entity_counts(predicted, gold)
    assert (counts[:, 0] <= counts[:, 1:].min(axis=1)).all()
    assert entity_counts(gold, predicted).tolist() == counts[:, [0, 2, 1]].tolist()
    scores = scores_of_counts(counts)
    assert scores == entity_f1(predicted, gold)
    assert f1_of_counts(counts.mean(axis=0)) == pytest.approx(scores.f1)
    found = entity_counts(gold, gold)
    assert scores_of_counts(found).f1 == float(found.any())


def test_f1_of_many_sums_at_once() -> None:
    sums = np.array([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    assert f1_of_counts(sums).tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("tag", ["", "PER", "X-PER", "B-", "B", "o", "O-PER", "BPER"])
def test_a_malformed_tag_is_named(tag: str) -> None:
    with pytest.raises(ValueError, match=rf"Tag '{tag}' of word 1 is neither O nor"):
        entities(["O", tag])


def test_sentences_must_fit() -> None:
    with pytest.raises(ValueError, match="1 sentences were tagged, and there are 2"):
        entity_counts([["O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="Sentence 1 has 2 words, and 1 tags were predicted"):
        entity_f1([["O"], ["O"]], [["O"], ["O", "O"]])
