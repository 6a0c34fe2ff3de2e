from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.document import model_type, pieces, validate_document
from polycompress.vocab.extending.document import check_extendable, complete_alphabet, extend_document
from polycompress.vocab.extending.joining import marks
from polycompress.vocab.extending.pieces import NewPiece
from polycompress.vocab.extending.unigram import score_range
from tests.vocab.documents import (
    bpe,
    bpe_documents,
    document,
    encode,
    load,
    texts,
    unigram,
    unigram_documents,
    wordpiece,
    wordpiece_documents,
    words,
)


@st.composite
def new_pieces(draw: st.DrawFn, doc: dict[str, Any]) -> list[NewPiece]:
    """Random pieces that a document can take."""
    kind, model = model_type(doc), doc["model"]
    known = {name for name in pieces(doc) if name is not None}
    if kind == "bpe":
        prefix, _ = marks(model)
        made: dict[str, list[tuple[str, str]]] = {}
        for _ in range(draw(st.integers(0, 6))):
            left = draw(st.sampled_from(sorted(known | made.keys())))
            right = draw(st.sampled_from(sorted(known | made.keys())))
            text = left + right.removeprefix(prefix)
            if right.startswith(prefix) and text not in known and len(text) < 24:
                made.setdefault(text, []).append((left, right))
        return [NewPiece(text=text, merges=tuple(pairs)) for text, pairs in made.items()]
    found = draw(st.lists(words("abcd▁" if kind == "unigram" else "aabbcd"), max_size=6, unique=True))
    if kind == "wordpiece":
        found = [draw(st.sampled_from(["", "##"])) + text for text in found]
        return [NewPiece(text=text) for text in dict.fromkeys(found) if text not in known]
    least, _ = score_range(model)
    return [
        NewPiece(text=text, score=draw(st.floats(least, max(least, 0.0))))
        for text in found
        if text not in known
    ]


@pytest.mark.parametrize("kind", [unigram_documents, bpe_documents, wordpiece_documents])
def test_old_ids_stay_and_texts_without_new_pieces_are_cut_as_before(kind: Any) -> None:
    @settings(max_examples=settings().max_examples * 2)
    @given(doc=kind(), data=st.data())
    def check(doc: dict[str, Any], data: st.DataObject) -> None:
        before = json.dumps(doc)
        found = data.draw(new_pieces(doc))
        extended = extend_document(doc, found)
        assert json.dumps(doc) == before
        validate_document(extended.document)
        names = pieces(extended.document)
        assert names[: extended.old_size] == pieces(doc)
        assert tuple(names[extended.old_size :]) == extended.pieces
        assert [names[number] for number in extended.added][: len(found)] == [piece.text for piece in found]
        if not found:
            assert extended.document == doc
        source, result = load(doc), load(extended.document)
        for text in data.draw(texts(doc)) + [piece.text for piece in found]:
            old, new = encode(source, text), encode(result, text)
            if old is not None and new is not None and max(new, default=0) < extended.old_size:
                assert new == old, (text, extended.pieces)
            assert old is None or new is not None

    check()


@given(doc=unigram_documents(), data=st.data())
def test_old_unigram_scores_are_kept_bit_for_bit(doc: dict[str, Any], data: st.DataObject) -> None:
    found = data.draw(new_pieces(doc))
    extended = extend_document(doc, found)
    old = doc["model"]["vocab"]
    assert extended.document["model"]["vocab"][: len(old)] == old
    assert score_range(extended.document["model"])[0] == score_range(doc["model"])[0]


@given(doc=bpe_documents(), data=st.data())
def test_new_merges_only_join_old_tokens(doc: dict[str, Any], data: st.DataObject) -> None:
    if doc["model"].get("ignore_merges"):
        doc["model"]["ignore_merges"] = False
    found = [piece for piece in data.draw(new_pieces(doc)) if piece.merges]
    extended = extend_document(doc, found)
    source, result = load(doc), load(extended.document)
    for text in data.draw(texts(doc)):
        if encode(source, text) is not None:
            ends = {end for _, end in source.encode(text).offsets}
            assert {end for _, end in result.encode(text).offsets} <= ends, text


def test_special_tokens_behind_the_vocabulary_keep_their_ids() -> None:
    doc = document(unigram(("<unk>", 0.0), ("a", -1.0), ("b", -2.0)), "<unk>", "<mask>", "+extra")
    extended = extend_document(doc, [NewPiece(text="ab", score=-1.5)])
    assert extended.promoted == ("<mask>", "extra")
    tokenizer = load(extended.document)
    assert [tokenizer.token_to_id(name) for name in ("<mask>", "extra", "ab")] == [3, 4, 5]
    assert tokenizer.encode("ab<mask>extra").ids == [5, 3, 4]
    assert extended.document["model"]["vocab"][3] == ["<mask>", -2.0]
    for model in (bpe(["a", "b"], [], unk_token="a"), wordpiece("a", "##b", "[UNK]")):
        doc = document(model, "<mask>")
        old = load(doc).token_to_id("<mask>")
        piece = NewPiece(text="ab", merges=(("a", "b"),)) if "merges" in model else NewPiece(text="ab")
        tokenizer = load(extend_document(doc, [piece]).document)
        assert (tokenizer.token_to_id("<mask>"), tokenizer.token_to_id("ab")) == (old, old + 1)


def test_gaps_between_ids_stay_gaps() -> None:
    model = bpe(["a", "b"], [])
    model["vocab"]["b"] = 7
    extended = extend_document(document(model), [NewPiece(text="ab", merges=(("a", "b"),))])
    assert extended.old_size == 8
    assert load(extended.document).encode("ab").ids == [8]


def test_merges_are_written_in_the_way_of_the_old_ones() -> None:
    doc = document(bpe(["a", "b", "ab", " "], ["a b"]))
    plain = extend_document(doc, [NewPiece(text="aba", merges=(("ab", "a"),))])
    assert plain.document["model"]["merges"] == ["a b", "ab a"]
    spaced = extend_document(doc, [NewPiece(text=" a", merges=((" ", "a"),))])
    assert spaced.document["model"]["merges"] == [["a", "b"], [" ", "a"]]
    assert load(spaced.document).encode(" aab").tokens == [" a", "ab"]


def test_wordpiece_gets_the_characters_that_a_longer_choice_may_need() -> None:
    model = wordpiece("ab", "##cd", "##c", "[UNK]")
    doc = document(model)
    assert [piece.text for piece in complete_alphabet(model, [])] == ["##d"]
    extended = extend_document(doc, [NewPiece(text="abc")])
    assert extended.pieces == ("abc", "##d")
    assert load(extended.document).encode("abcd").tokens == ["abc", "##d"]


@pytest.mark.parametrize(
    ("piece", "what"),
    [
        (NewPiece(text="", score=-1.0), "no text"),
        (NewPiece(text="a", score=-1.0), "'a' is a token already"),
        (NewPiece(text="aa"), "score of 'aa' is None"),
        (NewPiece(text="aa", score=-3.0), "between the smallest of the model, -2.0"),
        (NewPiece(text="aa", score=float("nan")), "is nan"),
        (NewPiece(text="aa", score=0.5), "is 0.5"),
    ],
)
def test_pieces_that_cannot_be_added(piece: NewPiece, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        extend_document(document(unigram(("<unk>", 0.0), ("a", -2.0))), [piece])


def test_merges_must_make_their_piece_and_pieces_come_once() -> None:
    doc = document(bpe(["a", "b"], []))
    for merge in (("a", "c"), ("b", "a")):
        with pytest.raises(ValueError, match="does not make 'ab'"):
            extend_document(doc, [NewPiece(text="ab", merges=(merge,))])
    with pytest.raises(ValueError, match="given twice"):
        extend_document(doc, [NewPiece(text="c"), NewPiece(text="c")])


def test_types_without_pieces_are_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"'WordLevel', which cannot be extended.*polycompress tokenizer train"
    ):
        check_extendable({"model": {"type": "WordLevel"}})
    check_extendable({"model": {"type": "BPE"}})
    check_extendable(None)
