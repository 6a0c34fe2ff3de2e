from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.vocab.document import pieces, validate_document
from polycompress.vocab.training.layouts import LAYOUTS
from polycompress.vocab.training.trainers import train_model, unigram_pieces
from tests.vocab.documents import load
from tests.vocab.extending.synthetic import sentences

KINDS = tuple(LAYOUTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_tokenizer_comes_out(kind: Any) -> None:
    size = 400 if kind == "byte-bpe" else 150
    doc = train_model(kind, sentences(1), size)
    validate_document(doc)
    tokenizer = load(doc)
    assert tokenizer.get_vocab_size() == size
    special = LAYOUTS[kind].special
    assert pieces(doc)[: len(special)] == special
    line = sentences(5, 1)[0]
    encoding = tokenizer.encode(line)
    roles = LAYOUTS[kind].roles
    assert encoding.tokens[0] == roles["cls_token"] and encoding.tokens[-1] == roles["sep_token"]
    assert len(encoding.ids) < 40
    assert LAYOUTS[kind].unknown not in encoding.tokens
    decoded = tokenizer.decode(encoding.ids)
    assert decoded.replace(" .", ".") == line
    pair = tokenizer.encode(line, "we")
    assert pair.tokens.count(roles["sep_token"]) == (2 if kind == "wordpiece" else 3)
    assert pair.type_ids[-1] == int(kind == "wordpiece")


def test_the_same_text_gives_the_same_bytes_in_every_process() -> None:
    script = (
        "from tests.vocab.extending.synthetic import sentences\n"
        "from polycompress.vocab.training.trainers import train_model\n"
        "from polycompress.vocab.document import dump_document\n"
        "import sys\n"
        "for kind in ('unigram', 'bpe', 'byte-bpe', 'wordpiece'):\n"
        "    sys.stdout.buffer.write(dump_document(train_model(kind, sentences(1), 350)))\n"
    )
    root = Path(__file__).parents[3]
    digests = {
        hashlib.sha256(
            subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, check=True).stdout
        ).hexdigest()
        for _ in range(3)
    }
    assert len(digests) == 1


def test_unigram_pieces_are_sorted_and_keep_all_characters() -> None:
    found = unigram_pieces(["aab abb zzy"] * 5, 8, {})
    assert {piece for piece, _ in found if len(piece) == 1} == set("ab zy")
    assert found == sorted(found, key=lambda entry: (-entry[1], entry[0]))
    assert len(found) <= 8
    assert all(score == round(score, 6) for _, score in found)


def test_more_characters_than_pieces_is_an_error() -> None:
    with pytest.raises(InputError, match=r"contain all chars.*another number"):
        train_model("unigram", ["abcdefghijk"], 9)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "wordpiece"])
def test_no_text_is_an_error(kind: Any) -> None:
    with pytest.raises(InputError, match="Give more"):
        train_model(kind, [], 100)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_signs_are_no_part_of_words(kind: Any) -> None:
    texts = ["ng'ombe, ya. (ya) \"ilé\" náà, l'été ya!", "ng'ombe ya, ilé. 'náà' (ilé), ya..."] * 40
    doc = train_model(kind, texts, 120)
    signs = set(",.()\"!'")
    mixed = [
        piece
        for piece in pieces(doc)[len(LAYOUTS[kind].special) :]
        if piece is not None and any(map(str.isalpha, piece)) and (set(piece) - {"'"}) & signs
    ]
    assert not mixed
    tokens = load(doc).encode("ng'ombe, ya.", add_special_tokens=False).tokens
    assert "".join(tokens) == "▁ng'ombe,▁ya."
    assert [token for token in tokens if set(token) & set(",.")] == [",", "."]
