"""What one tokenizer's tokens say, cut by another."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from polycompress.vocab.forms import named_tokens, token_forms
from polycompress.vocab.recutting import cut_forms, longest_first
from tests.tiny_models import TEXTS, train_tokenizer

KINDS = [
    ("unigram", "fairseq"),
    ("bytebpe", "gpt2"),
    ("bpe", "llama"),
    ("wordpiece", "bert"),
    ("qwenbpe", "gpt2"),
]


@pytest.mark.parametrize(("kind", "layout"), KINDS)
def test_the_tokenizers_own_tokens_come_back(kind: str, layout: str) -> None:
    document = train_tokenizer(kind, layout)
    tokenizer = Tokenizer.from_str(json.dumps(document))
    forms = token_forms(document)
    cut = cut_forms(document, tokenizer, forms)
    named = named_tokens(document)
    for number, (form, ids) in enumerate(zip(forms, cut, strict=True)):
        if form is None:
            assert ids == []
        elif ids and number not in named:
            # The same text, in as few pieces or fewer (one, but where BPE's merges do not lead to a piece).
            assert b"".join(forms[each] or b"" for each in ids) in (form, form.strip(b" "))
    alone = sum(ids == [number] for number, ids in enumerate(cut))
    assert alone > 0.8 * sum(form is not None for form in forms) - 256


@pytest.mark.parametrize(("kind", "layout"), KINDS)
def test_words_are_cut_as_in_text(kind: str, layout: str) -> None:
    document = train_tokenizer(kind, layout)
    tokenizer = Tokenizer.from_str(json.dumps(document))
    for word in ("schnelle", "prince", "Heute", "jumps"):
        in_text = tokenizer.encode(f"over {word}", add_special_tokens=False).ids
        before = len(tokenizer.encode("over", add_special_tokens=False).ids)
        assert cut_forms(document, tokenizer, [f" {word}".encode()])[0] == in_text[before:]


def test_a_piece_inside_a_word_is_not_taken_for_a_word() -> None:
    document = train_tokenizer("wordpiece", "bert")
    tokenizer = Tokenizer.from_str(json.dumps(document))
    names = {number: name for name, number in document["model"]["vocab"].items()}
    begins, inside = cut_forms(document, tokenizer, [b" nelle", b"nelle"])
    assert not names[begins[0]].startswith("##")
    assert all(names[each].startswith("##") for each in inside)


def test_bytes_that_are_no_text_have_pieces_of_bytes_alone() -> None:
    document = train_tokenizer("bytebpe", "gpt2")
    cut = cut_forms(document, Tokenizer.from_str(json.dumps(document)), [b"\xe1\xbb"])
    assert cut[0]
    document = train_tokenizer("unigram", "fairseq")
    assert cut_forms(document, Tokenizer.from_str(json.dumps(document)), [b"\xe1\xbb", None]) == [[], []]


@given(st.text(alphabet="abc", min_size=1, max_size=12), st.booleans())
def test_longest_first_agrees_with_the_library(text: str, inside: bool) -> None:
    vocab = {"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "##a": 4, "##b": 5, "##ab": 6, "##ba": 7, "##c": 8}
    from tokenizers import models

    lead = "b" if inside else ""
    library = [token.id for token in models.WordPiece(vocab, unk_token="[UNK]").tokenize(lead + text)]
    found = longest_first(text, vocab, "##", inside=inside)
    if found is None:
        assert library == [0]
    elif not inside:
        assert library == found


def test_texts_of_the_tokenizers_are_there() -> None:
    assert any("schnelle" in text for text in TEXTS)
