"""Counts of parts add up to counts of the whole, in any order and grouping."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab import held_out, merging
from polycompress.vocab.counts import Counts, LanguageCounts, check_counts, merge_counts, merge_named_counts
from polycompress.vocab.held_out import Sample, merge_samples


def record(tokens: list[int], texts: list[str], name: str) -> LanguageCounts:
    counted = Counter(tokens)
    ids = np.array(sorted(counted), dtype=np.int64)
    counts = np.array([counted[token] for token in sorted(counted)], dtype=np.int64)
    sample = Sample()
    for text in texts:
        sample.add(text)
    return LanguageCounts(
        ids=ids,
        counts=counts,
        texts=len(tokens),
        characters=2 * len(tokens),
        bytes=3 * len(tokens),
        seen_once=int((counts == 1).sum()),
        source={"kind": "corpus", "files": [{"name": name}], "dropped": {"sample": len(texts)}},
        held_out_texts=sample.texts(),
    )


def plain(counts: LanguageCounts) -> dict[str, Any]:
    return {
        "ids": counts.ids.tolist(),
        "counts": counts.counts.tolist(),
        "numbers": (counts.texts, counts.characters, counts.bytes, counts.seen_once, counts.tokens),
        "source": json.dumps(counts.source, sort_keys=True),
        "held": counts.held_out_texts,
    }


PARTS = st.lists(
    st.tuples(st.lists(st.integers(0, 30)), st.lists(st.text("abc", max_size=3), max_size=9)),
    min_size=1,
    max_size=6,
)


@given(parts=PARTS, data=st.data())
def test_order_and_grouping_do_not_matter(
    parts: list[tuple[list[int], list[str]]], data: st.DataObject
) -> None:
    records = [record(tokens, texts, f"{number}.txt") for number, (tokens, texts) in enumerate(parts)]
    straight = merge_counts(records)
    shuffled = data.draw(st.permutations(records))
    while len(shuffled) > 1:
        cut = data.draw(st.integers(2, len(shuffled)))
        shuffled = [*shuffled[cut:], merge_counts(shuffled[:cut])]
    whole = record([t for tokens, _ in parts for t in tokens], [t for _, texts in parts for t in texts], "")
    assert plain(straight) == plain(shuffled[0])
    assert {**plain(straight), "source": ""} == {**plain(whole), "source": ""}


@given(samples=st.lists(st.lists(st.text("xyz", max_size=4), max_size=12), max_size=5))
def test_the_sample_of_the_whole_is_that_of_the_union(samples: list[list[str]]) -> None:
    whole = Sample(5)
    for text in (text for texts in samples for text in texts):
        whole.add(text)
    parts = []
    for texts in samples:
        part = Sample(5)
        for text in texts:
            part.add(text)
        parts.append(part.texts())
    assert merge_samples(parts, 5) == whole.texts()
    assert held_out.HELD_OUT_TEXTS == 2000


def test_one_part_is_itself_and_none_is_refused() -> None:
    one = record([1, 2], ["a"], "a.txt")
    assert merge_counts([one]) is one
    with pytest.raises(InputError, match="no counts to add up"):
        merge_counts([])


def test_word_frequencies_have_no_seen_once() -> None:
    words = LanguageCounts(
        ids=np.array([1, 5]), counts=np.array([0.5, 0.25]), texts=2, characters=4, bytes=0, seen_once=None
    )
    both = merge_counts([record([1, 1, 2], [], "a.txt"), words])
    assert both.seen_once is None
    assert both.ids.tolist() == [1, 2, 5]
    assert both.counts.tolist() == [2.5, 1.0, 0.25]
    assert both.held_out_texts == ()
    assert merge_counts([words, words]).held_out_texts is None


def test_what_does_not_fit_64_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_LARGEST", 3)
    with pytest.raises(InputError, match="more than 64 bits hold"):
        merge_counts([record([1, 1], [], "a"), record([1, 1], [], "b")])


def test_another_tokenizers_counts_are_refused() -> None:
    counts = Counts(tokenizer_sha256="ab" * 32, vocab_size=10, languages={})
    check_counts(counts, Path("c.npz"), "ab" * 32, 10)
    for sha256, size in (("cd" * 32, 10), ("ab" * 32, 11)):
        with pytest.raises(InputError, match=r"c\.npz: counted with another tokenizer") as caught:
            check_counts(counts, Path("c.npz"), sha256, size)
        assert "ab" * 32 in str(caught.value)
        assert f"the model's has {sha256} and {size}" in str(caught.value)
        assert "Count again with this model" in str(caught.value)


def counted(files: list[dict[str, Any]], tokens: list[int], **source: Any) -> LanguageCounts:
    return dataclasses.replace(record(tokens, [], "x"), source={"kind": "corpus", "files": files} | source)


def whole(name: str, sha256: str = "", size: int = 9) -> dict[str, Any]:
    return {"name": name, "bytes": size, "sha256": sha256 or name * 3}


def test_the_same_text_of_two_places_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    text = counted([whole("a"), whole("b")], [1, 2, 2])
    again = counted([whole("a"), whole("b")], [1, 2, 2])
    other = counted([whole("c")], [2, 3])
    merged = merge_named_counts([("one.npz", text), ("two.npz", other), ("three.npz", again)])
    assert plain(merged) == plain(merge_counts([text, other]))
    assert caplog.messages == ["three.npz: is of the same text as one.npz; it is counted once"]


@pytest.mark.parametrize(
    "second",
    [
        counted([whole("a"), whole("c")], [1, 2, 2, 5]),  # one file of two
        counted([whole("renamed", "aaa"), whole("c")], [1, 2, 2, 5]),
        counted([whole("a"), whole("b")], [1, 2], dropped={"short": 3}),  # cleaned otherwise
    ],
)
def test_text_that_two_places_share_partly_is_refused(second: LanguageCounts) -> None:
    first = counted([whole("a"), whole("b")], [1, 2, 2])
    with pytest.raises(
        InputError, match=r"one\.npz and two\.npz: a.* is in both, .* twice\. Give one of the two"
    ):
        merge_named_counts([("one.npz", first), ("two.npz", second)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (counted([whole("a")], [1]), counted([whole("a", "other")], [1])),  # another file of the same name
        (counted([whole("a")], [1]), counted([whole("a")], [1], reading={"field": "title"})),
        (counted([whole("a", size=0)], [1]), counted([whole("a", size=0), whole("b")], [1])),
        (counted([], [1]), counted([], [1])),  # nobody knows what they are of
        (
            counted([{"name": "a", "bytes": 9, "range": [0, 9]}], [1]),
            counted([{"name": "a", "bytes": 9, "range": [9, 18]}], [1]),
        ),
        (counted(["what"], [1]), counted([3, {"sha256": [], "bytes": 1}], [1], reading=[])),  # type: ignore[list-item]
    ],
)
def test_different_texts_add_up(first: LanguageCounts, second: LanguageCounts) -> None:
    assert merge_named_counts([("one.npz", first), ("two.npz", second)]).tokens == 2


def test_parts_of_files_that_are_the_same_are_counted_once() -> None:
    first = counted([{"name": "a", "bytes": 9, "range": [0, 9]}], [1, 1])
    assert merge_named_counts([("one.npz", first), ("two.npz", first)]).tokens == 2
