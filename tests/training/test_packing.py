from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.training.batches import collate
from polycompress.training.examples import Example
from polycompress.training.masking import IGNORED, causal_lm
from polycompress.training.packing import additive_mask, block_mask, pack

VOCABULARY = 60


@given(st.integers(1, 50).flatmap(lambda top: st.tuples(st.lists(st.integers(1, top)), st.integers(top, 64))))
def test_packing_holds_everything_once_and_wastes_little(case: tuple[list[int], int]) -> None:
    lengths, capacity = case
    rows = pack(lengths, capacity)
    assert sorted(item for row in rows for item in row) == list(range(len(lengths)))
    filled = [sum(lengths[item] for item in row) for row in rows]
    assert all(0 < amount <= capacity for amount in filled)
    # no two rows would fit into one, so all rows but one are on average more than half full
    assert len(rows) < 2 * sum(lengths) / capacity + 1
    assert pack(lengths, capacity) == rows


def test_packing_by_hand() -> None:
    assert pack([3, 7, 5, 5, 2], 10) == [[1, 0], [2, 3], [4]]
    assert pack([], 10) == []


def test_masks_by_hand() -> None:
    mask = block_mask(torch.tensor([[1, 1, 2, 0]]), causal=True)
    assert mask.shape == (1, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    both_ways = block_mask(torch.tensor([[1, 1, 2, 0]]), causal=False)
    assert both_ways[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    scores = additive_mask(mask, torch.bfloat16)
    assert scores.dtype == torch.bfloat16
    assert scores[mask].tolist() == [0] * int(mask.sum())
    assert scores[~mask].unique().tolist() == [torch.finfo(torch.bfloat16).min]


def tiny_bert(attention: str) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        initializer_range=0.3,  # so that a text that leaks into another shows
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return BertForMaskedLM(config).eval()


def tiny_roberta(attention: str) -> Any:
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        initializer_range=0.3,  # so that a text that leaks into another shows
        pad_token_id=1,
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return XLMRobertaForMaskedLM(config).eval()


def tiny_llama(attention: str) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=24,
        max_position_embeddings=40,
        initializer_range=0.3,  # so that a text that leaks into another shows
        attn_implementation=attention,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def some_examples(lengths: list[int]) -> list[Example]:
    rng = np.random.default_rng(3)
    return [
        Example(number, "deu-Latn", rng.integers(5, VOCABULARY, length))
        for number, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("make", "causal", "first_position"),
    [(tiny_bert, False, 0), (tiny_roberta, False, 2), (tiny_llama, True, 0)],
    ids=["bert", "xlm-roberta", "llama"],
)
def test_a_packed_forward_equals_separate_ones(
    make: Any, causal: bool, first_position: int, attention: str
) -> None:
    model = make(attention)
    lengths = [7, 12, 3, 1, 9, 12, 5]
    examples = some_examples(lengths)
    rows = [[examples[item] for item in row] for row in pack(lengths, 20)]
    assert max(map(len, rows)) > 1
    batch = collate(rows, pad_id=1, packed=True, first_position=first_position, width=20)
    assert batch.document_ids is not None
    with torch.no_grad():
        packed = model(**batch.inputs(causal=causal, additive=attention == "eager")).logits
        assert torch.isfinite(packed).all()
        for number, row in enumerate(rows):
            for document, example in enumerate(row, start=1):
                alone = model(input_ids=torch.from_numpy(example.ids)[None]).logits[0]
                inside = packed[number][batch.document_ids[number] == document]
                torch.testing.assert_close(inside, alone, rtol=1e-5, atol=1e-5)
    # and it is the mask that does it
    with torch.no_grad():
        leaking = model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, attention_mask=batch.attention_mask
        )
    assert not torch.allclose(leaking.logits[0], packed[0], atol=0.1)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_causal_loss_and_gradients_equal_separate_ones(attention: str) -> None:
    model = tiny_llama(attention)
    lengths = [7, 12, 3, 9]
    examples = some_examples(lengths)
    rows = [[examples[item] for item in row] for row in pack(lengths, 20)]
    batch = collate(rows, pad_id=1, packed=True, objective=causal_lm)
    assert batch.labels is not None
    assert batch.labelled == sum(lengths) - len(lengths)
    loss = model(**batch.inputs(causal=True, additive=attention == "eager"), labels=batch.labels).loss
    loss.backward()
    packed = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    alone = 0.0
    for example in examples:
        ids = torch.from_numpy(example.ids)[None]
        part = model(input_ids=ids, labels=ids).loss * (len(example.ids) - 1) / batch.labelled
        part.backward()
        alone += part.item()
    assert loss.item() == pytest.approx(alone, rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(packed[name], weight.grad, rtol=1e-4, atol=1e-6)


def test_positions_and_documents_of_a_packed_batch() -> None:
    first, second, third = some_examples([3, 2, 4])
    batch = collate(
        [[first, second], [third]], pad_id=1, packed=True, first_position=2, multiple=4, objective=causal_lm
    )
    assert batch.input_ids.dtype == torch.int64
    assert batch.document_ids is not None and batch.position_ids is not None and batch.labels is not None
    assert batch.document_ids.tolist() == [[1, 1, 1, 2, 2, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
    assert batch.position_ids.tolist() == [[2, 3, 4, 2, 3, 2, 2, 2], [2, 3, 4, 5, 2, 2, 2, 2]]
    assert (batch.labels[0] == IGNORED).tolist() == [True, False, False, True, False, True, True, True]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]]
    assert batch.input_ids[0, 5:].tolist() == [1, 1, 1]
    assert (batch.text_ids, batch.lengths, batch.row_examples, batch.tokens) == (
        (0, 1, 2),
        (3, 2, 4),
        (2, 1),
        9,
    )
