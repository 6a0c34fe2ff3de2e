from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.vocab.document import pieces
from polycompress.vocab.extending.document import extend_document
from polycompress.vocab.extending.finding import train_pieces
from polycompress.vocab.extending.unigram import score_range
from tests.vocab.documents import encode, load
from tests.vocab.extending.synthetic import OLD, old_tokenizer, sentences

KINDS = ("unigram", "bpe", "byte-bpe", "wordpiece")


@pytest.mark.parametrize("kind", KINDS)
def test_new_pieces_save_tokens_and_old_texts_stay(kind: str) -> None:
    doc = old_tokenizer(kind, 330 if kind == "byte-bpe" else 120)
    found = train_pieces(doc, sentences(1), sentences(2), most=60)
    assert 30 < len(found) <= 60
    extended = extend_document(doc, found)
    assert extended.pieces[: len(found)] == tuple(piece.text for piece in found)
    before, after = load(doc), load(extended.document)
    lines = sentences(3, 100)
    taken = [sum(len(tokenizer.encode(line).ids) for line in lines) for tokenizer in (before, after)]
    if kind != "wordpiece":  # whose unreadable words were one token each
        assert taken[1] < 0.6 * taken[0]
    unknown = before.token_to_id("[UNK]" if kind == "wordpiece" else "<unk>")
    if kind == "wordpiece":
        assert sum(before.encode(line).ids.count(unknown) for line in lines) > 300
    assert sum(after.encode(line).ids.count(unknown) for line in lines) == 0
    for text in OLD:
        new = encode(after, text)
        assert new is not None
        if max(new) < extended.old_size:
            assert new == encode(before, text)
    assert {piece.text for piece in found if "." in piece.text} <= {".", "##."}
    if kind == "unigram":
        least, largest = score_range(doc["model"])
        assert all(least <= (piece.score or 0) <= largest for piece in found)


def test_the_order_of_texts_does_not_matter_nor_does_the_process() -> None:
    script = (
        "from tests.vocab.extending.synthetic import *\n"
        "from polycompress.vocab.extending.finding import train_pieces\n"
        "for kind in ('unigram', 'bpe', 'wordpiece'):\n"
        "    print(train_pieces(old_tokenizer(kind), sentences(1)[::{}], sentences(2), most=40))\n"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run(
            [sys.executable, "-c", script.format(step)], cwd=root, capture_output=True, text=True, check=True
        ).stdout
        for step in (1, -1)
    ]
    assert runs[0] == runs[1]
    assert runs[0].count("NewPiece") > 60


def test_pieces_that_save_nothing_are_not_found() -> None:
    doc = old_tokenizer("bpe")
    assert train_pieces(doc, ["!!! on, no"] * 9, ["!!! on, no"], most=5) == []
    known = {name for name in pieces(doc) if name}
    assert not known & {piece.text for piece in train_pieces(doc, sentences(1), sentences(2), most=20)}


def test_no_words_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no words in the text.*--corpus"):
        train_pieces(old_tokenizer("unigram"), [], ["a"], most=5)
