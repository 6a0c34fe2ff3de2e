from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.training.batches import Batch, collate
from polycompress.training.examples import Example
from polycompress.training.masking import (
    IGNORED,
    MaskedLM,
    Masking,
    Tokens,
    causal_lm,
    masked_lm,
    word_positions,
)
from polycompress.training.packing import pack
from tests.tiny_models import train_tokenizer

MASK = 4
SPECIAL = range(5)
VOCABULARY = 1000


def objective(masking: Masking | None = None, seed: int = 0) -> MaskedLM:
    return MaskedLM(
        masking=masking or Masking(), seed=seed, mask_id=MASK, ordinary=np.arange(len(SPECIAL), VOCABULARY)
    )


def flat(ids: Sequence[int], text: int = 0, epoch: int = 0) -> Tokens:
    array = np.array(ids, dtype=np.int64)
    return Tokens(
        ids=array,
        text_ids=np.full_like(array, text),
        positions=np.arange(len(array)),
        epochs=np.full_like(array, epoch),
    )


def example(number: int, length: int, epoch: int = 0) -> Example:
    ids = np.random.default_rng(number).integers(len(SPECIAL), VOCABULARY, length)
    return Example(number, "deu-Latn", ids, epoch)


def by_text(batch: Batch) -> dict[int, tuple[list[int], list[int]]]:
    """Ids and labels of each text of a batch."""
    assert batch.labels is not None
    real = batch.attention_mask.bool()
    ids, labels = batch.input_ids[real].tolist(), batch.labels[real].tolist()
    found, begin = {}, 0
    for text, length in zip(batch.text_ids, batch.lengths, strict=True):
        found[text] = (ids[begin : begin + length], labels[begin : begin + length])
        begin += length
    return found


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=12),
    st.integers(0, 2**64 - 1),
    st.integers(0, 1000),
    st.randoms(use_true_random=False),
)
def test_masks_do_not_depend_on_batch_order_or_packing(
    lengths: list[int], seed: int, epoch: int, random: object
) -> None:
    examples = [example(number, length, epoch) for number, length in enumerate(lengths)]
    make = objective(seed=seed)
    alone = {
        each.text_id: by_text(collate([[each]], pad_id=1, objective=make))[each.text_id] for each in examples
    }
    mixed = list(examples)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert by_text(collate([[each] for each in mixed], pad_id=1, objective=make)) == alone
    rows = [[mixed[item] for item in row] for row in pack([len(each.ids) for each in mixed], 30)]
    assert by_text(collate(rows, pad_id=1, objective=make, packed=True)) == alone


def test_another_epoch_seed_or_text_is_masked_differently() -> None:
    ids = [7] * 300
    labels = [
        make(flat(ids, text, epoch))[1].tolist()
        for make, text, epoch in (
            (objective(), 0, 0),
            (objective(), 0, 1),
            (objective(), 1, 0),
            (objective(seed=1), 0, 0),
        )
    ]
    assert len({tuple(each) for each in labels}) == 4
    assert objective()(flat(ids))[1].tolist() == labels[0]


def test_the_shares_are_those_of_bert() -> None:
    ids = np.random.default_rng(0).integers(len(SPECIAL), VOCABULARY, 200_000)
    seen, labels = objective()(flat(ids.tolist()))
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=0.003)
    assert (labels[chosen] == ids[chosen]).all()
    assert (seen[~chosen] == ids[~chosen]).all()
    masked, kept = seen[chosen] == MASK, seen[chosen] == ids[chosen]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    others = seen[chosen][~masked & ~kept]
    assert len(others) / chosen.sum() == pytest.approx(0.1, abs=0.01)
    assert others.min() >= len(SPECIAL) and others.max() < VOCABULARY
    assert len(np.unique(others)) > 0.8 * VOCABULARY


def test_shares_are_parameters() -> None:
    tokens = flat([7] * 2000)
    seen, labels = objective(Masking(rate=1.0, mask_share=1.0, random_share=0.0))(tokens)
    assert (seen == MASK).all() and (labels == 7).all()
    seen, labels = objective(Masking(rate=0.5, mask_share=0.0, random_share=1.0))(tokens)
    assert not (seen == MASK).any()
    assert (seen[labels == IGNORED] == 7).all() and (seen != 7).mean() == pytest.approx(0.5, abs=0.05)


def test_special_tokens_are_never_masked() -> None:
    tokens = flat([0, 10, 11, 2] * 500)
    seen, labels = objective(Masking(rate=1.0))(tokens)
    special = np.isin(tokens.ids, SPECIAL)
    assert (seen[special] == tokens.ids[special]).all()
    assert (labels[special] == IGNORED).all()
    assert (labels[~special] != IGNORED).all()


def test_the_input_is_left_as_it_is() -> None:
    tokens = flat([7] * 100)
    objective(Masking(rate=1.0))(tokens)
    causal_lm(tokens)
    assert (tokens.ids == 7).all()


def test_word_positions_by_hand() -> None:
    positions = np.array([0, 1, 2, 3, 4, 0, 1, 2])
    starts = np.array([1, 1, 0, 0, 1, 1, 0, 0], dtype=bool)
    assert word_positions(positions, starts, 8).tolist() == [0, 1, 1, 1, 4, 0, 0, 0]
    assert word_positions(positions, starts, 2).tolist() == [0, 1, 1, 3, 4, 0, 0, 2]


@pytest.mark.parametrize(("kind", "layout"), [("unigram", "fairseq"), ("wordpiece", "bert")])
def test_whole_words_are_masked_whole(kind: str, layout: str) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(train_tokenizer(kind, layout)))
    mask = "<mask>" if layout == "fairseq" else "[MASK]"
    make = masked_lm(tokenizer, mask, Masking(rate=0.3, whole_words=True), seed=1)
    split = 0
    for number in range(60):
        encoding = tokenizer.encode("schnelle bibliothèque regnen morgen Bibliotheken Hauptstadt")
        _, labels = make(flat(encoding.ids, number))
        words: dict[int | None, set[bool]] = {}
        for word, label in zip(encoding.word_ids, labels.tolist(), strict=True):
            words.setdefault(word, set()).add(label != IGNORED)
        assert words.pop(None) == {False}
        long_words = {word: encoding.word_ids.count(word) for word in words}
        assert all(len(fates) == 1 for word, fates in words.items() if long_words[word] <= 8)
        split += len({next(iter(fates)) for fates in words.values()}) - 1
    assert split > 0  # some words are masked and others of the same text are not


def test_masked_lm_knows_the_special_tokens() -> None:
    tokenizer = Tokenizer.from_str(json.dumps(train_tokenizer("unigram", "fairseq")))
    make = masked_lm(tokenizer, "<mask>", Masking(), seed=0, special=["▁"])
    special = {tokenizer.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁")}
    assert not special & set(make.ordinary.tolist())
    assert len(make.ordinary) + len(special) == tokenizer.get_vocab_size()
    assert make.mask_id == tokenizer.token_to_id("<mask>")


def test_causal_labels_leave_out_the_first_of_each_text() -> None:
    tokens = Tokens(
        ids=np.array([5, 6, 7, 8, 9]),
        text_ids=np.array([0, 0, 0, 1, 1]),
        positions=np.array([0, 1, 2, 0, 1]),
        epochs=np.zeros(5, dtype=np.int64),
    )
    assert causal_lm(tokens)[1].tolist() == [IGNORED, 6, 7, IGNORED, 9]


def test_wrong_requests() -> None:
    with pytest.raises(InputError, match=r"(?s)rate is 0: .*mask_share is 2: .*longest_word is 0"):
        Masking(rate=0, mask_share=2, longest_word=0)
    with pytest.raises(InputError, match=r"mask_share and random_share add up to 1\.2"):
        Masking(mask_share=0.9, random_share=0.3)
    with pytest.raises(InputError, match="which tokens begin a word"):
        objective(Masking(whole_words=True))
    with pytest.raises(InputError, match="special ones only"):
        MaskedLM(masking=Masking(), seed=0, mask_id=4, ordinary=np.array([], dtype=np.int64))
    with pytest.raises(InputError, match="seed -1 is not between"):
        objective(seed=-1)
    with pytest.raises(InputError, match="no token '<mask>'"):
        masked_lm(
            Tokenizer.from_str(json.dumps(train_tokenizer("bytebpe", "gpt2"))), "<mask>", Masking(), seed=0
        )
