from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from polycompress.errors import InputError
from polycompress.evaluation.encoding import IGNORED, TaskEncoder
from polycompress.evaluation.windows import tokens_of_span
from tests.evaluation.tiny_task_models import encoder, question, sentence, text, tokenizer_json
from tests.tiny_models import TEXTS

FAMILIES = ("xlm-roberta", "bert", "roberta", "t5", "llama", "gpt2")


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_what_the_tokenizer_gives(family: str) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json(family))
    found = encoder(family, 400).encode_texts([text(each) for each in TEXTS])
    assert [row.ids.tolist() for row in found] == [tokenizer.encode(each).ids for each in TEXTS]
    assert [row.example for row in found] == list(range(len(TEXTS)))
    assert found[0].ids.dtype == np.int32


def test_pairs_have_the_pair_template_and_segments() -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json("bert"))
    wanted = tokenizer.encode("The quick fox", "jumps over")
    (row,) = encoder("bert", use_type_ids=True).encode_texts([text("The quick fox", "jumps over")])
    assert row.ids.tolist() == wanted.ids
    assert row.type_ids is not None
    assert row.type_ids.tolist() == wanted.type_ids
    assert max(wanted.type_ids) == 1


def test_no_segments_where_the_template_has_none() -> None:
    (row,) = encoder("xlm-roberta", use_type_ids=True).encode_texts([text("The quick fox", "jumps over")])
    assert row.type_ids is None


def test_the_longer_text_of_a_pair_is_cut() -> None:
    (whole,) = encoder(max_length=400).encode_texts([text("fox", " ".join(TEXTS[:4]))])
    (row,) = encoder(max_length=24).encode_texts([text("fox", " ".join(TEXTS[:4]))])
    assert len(row) == 24
    assert row.ids[:23].tolist() == whole.ids[:23].tolist()
    assert row.ids[-1] == whole.ids[-1]


def test_what_gives_no_token_becomes_padding() -> None:
    (row,) = encoder("gpt2").encode_strings([""])
    assert row.ids.tolist() == [1]
    (row,) = encoder("gpt2").encode_words([sentence("")])
    assert row.word_starts is not None
    assert row.word_starts.tolist() == [-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_tokenised_as_in_running_text(family: str) -> None:
    line = "The quick brown fox"
    one = encoder(family)
    (row,) = one.encode_words([sentence(*line.split())])
    (running,) = one.encode_strings([line])
    assert row.ids.tolist() == running.ids.tolist()
    assert row.word_starts is not None
    assert [int(word) for word in row.word_starts if word >= 0] == [0, 1, 2, 3]


words = st.lists(
    st.sampled_from([*" ".join(TEXTS).split(), "", "\u200b", "東京は日本の首都です", "Wetterdienstleister"]),
    min_size=1,
    max_size=40,
)


@given(words, st.integers(16, 64), st.sampled_from(("xlm-roberta", "bert", "roberta")))
def test_every_word_is_labelled_once_on_its_first_token(
    sentence_words: list[str], max_length: int, family: str
) -> None:
    whole = encoder(family, 100_000)
    (reference,) = whole.encode_words([sentence(*sentence_words)])
    assert reference.word_starts is not None
    first = {
        int(word): int(reference.ids[place]) for place, word in enumerate(reference.word_starts) if word >= 0
    }
    rows = encoder(family, max_length).encode_words([sentence("first"), sentence(*sentence_words)])
    assert rows[0].example == 0
    assert {row.example for row in rows} == {0, 1}
    found: dict[int, int] = {}
    for row in rows[1:]:
        assert len(row) <= max_length
        assert row.word_starts is not None
        for place in np.flatnonzero(row.word_starts >= 0):
            assert int(row.word_starts[place]) not in found
            found[int(row.word_starts[place])] = int(row.ids[place])
    assert found == first


def test_characters_behind_a_bare_mark_carry_the_label() -> None:
    vocab = [("<unk>", 0.0), ("▁", -1.0), ("中", -2.0), ("国", -2.0), ("▁ab", -2.0), ("c", -3.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    (row,) = TaskEncoder(tokenizer, max_length=16).encode_words([sentence("中", "国", "abc")])
    assert [tokenizer.id_to_token(token) for token in row.ids] == ["▁", "中", "▁", "国", "▁ab", "c"]
    assert row.word_labels([1, 2, 3]).tolist() == [-100, 1, -100, 2, 3, -100]


def test_labels_of_words_stand_on_first_tokens() -> None:
    (row,) = encoder().encode_words([sentence("Hauptstadt", "Kenya", tags=(0, 2))])
    labels = row.word_labels((0, 2))
    assert row.word_starts is not None
    assert labels[row.word_starts >= 0].tolist() == [0, 2]
    assert set(labels[row.word_starts < 0].tolist()) == {IGNORED}
    (plain,) = encoder().encode_strings(["a"])
    with pytest.raises(ValueError, match="only what encode_words gives"):
        plain.word_labels((0,))


@pytest.mark.parametrize("family", ("xlm-roberta", "bert", "roberta", "llama"))
def test_spans_of_a_context_are_its_text(family: str) -> None:
    context = " ".join(TEXTS[:4])
    example = question(context, "What is quick?", "brown fox")
    rows = encoder(family, 48).encode_questions([example], 8)
    assert len(rows) > 1
    covered = np.zeros(len(context), dtype=bool)
    answered = 0
    for row in rows:
        assert len(row) <= 48
        assert row.offsets is not None
        for begin, end in row.offsets[row.offsets[:, 0] >= 0].tolist():
            covered[begin:end] = True
            assert begin == end or not context[begin].isspace()
        span = tokens_of_span(row.offsets, example.answers[0].start, example.answers[0].start + 9)
        if span is not None:
            answered += 1
            begin, end = int(row.offsets[span[0], 0]), int(row.offsets[span[1], 1])
            assert context[begin:end] == "brown fox"
    assert answered
    missed = [letter for letter, seen in zip(context, covered, strict=True) if not seen]
    assert not "".join(missed).strip()


def test_windows_of_a_context_share_the_stride() -> None:
    context = " ".join(TEXTS[:6])
    rows = encoder(max_length=48).encode_questions([question(context, "Who?", "Fuchs")], 10)
    spans = [row.offsets[row.offsets[:, 0] >= 0] for row in rows if row.offsets is not None]
    for before, after in itertools.pairwise(spans):
        assert before[-10:].tolist() == after[:10].tolist()


def test_a_long_question_is_cut_and_leaves_room() -> None:
    example = question("Der Fuchs springt über den Hund. " * 5, "Warum? " * 200, "Fuchs")
    rows = encoder(max_length=48).encode_questions([example])
    assert len(rows) < 20
    assert all(row.offsets is not None and (row.offsets[:, 0] >= 0).sum() > 1 for row in rows)


@pytest.mark.parametrize("kind", ["words", "questions"])
def test_a_stride_over_half_a_window(kind: str) -> None:
    one = encoder(max_length=44)
    with pytest.raises(
        InputError, match=r"stride is 22, but windows have 4\d tokens for text: give .* at most 2[01]"
    ):
        if kind == "words":
            one.encode_words([sentence("a")], 22)
        else:
            one.encode_questions([question("a b", "c", "a")], 22)


def test_no_room_for_text() -> None:
    with pytest.raises(
        InputError, match="max_length is 5, which leaves no room for text beside 4 special tokens"
    ):
        encoder(max_length=5)


def test_a_damaged_tokenizer() -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json: the tokenizers library refuses it"):
        TaskEncoder(b'{"version": "1.0"}', max_length=32)


class _Blind:
    """An encoding of a tokenizer that knows neither words nor offsets."""

    def __init__(self, encoding: Any) -> None:
        self.ids, self.type_ids = encoding.ids, encoding.type_ids
        self.sequence_ids = encoding.sequence_ids
        self.word_ids = [None] * len(self.ids)
        self.offsets = [(0, 0)] * len(self.ids)
        self.overflowing: list[Any] = []


class _BlindTokenizer:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch(self, inputs: Any, **options: Any) -> list[_Blind]:
        return [_Blind(each) for each in self._tokenizer.encode_batch(inputs, **options)]


def test_a_tokenizer_without_offsets() -> None:
    one: Any = encoder()
    one.tokenizer = _BlindTokenizer(one.tokenizer)
    with pytest.raises(InputError, match="cannot say where in a text its tokens stand"):
        one.encode_questions([question("a b", "c", "a")])
    with pytest.raises(InputError, match="does not say which word a token belongs to"):
        one.encode_words([sentence("a", "b")])
