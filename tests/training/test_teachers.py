"""Teachers: rounded once, and put together again of parts of a batch."""

from __future__ import annotations

import torch
import transformers

from polycompress.distill.outputs import Outputs
from polycompress.training.teachers import round_linear_, together
from tests.training.test_distilling import SMALL, inputs, model_of


def test_parts_of_a_batch_come_back_in_order() -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    places = (torch.tensor([2, 0]), torch.tensor([3, 1]))
    parts = [
        (each, Outputs(hidden={1: whole[each]}, keys={0: whole[each]}, logits=whole[each])) for each in places
    ]
    joined = together(parts)
    assert joined.logits is not None
    assert all(torch.equal(found, whole) for found in (joined.hidden[1], joined.keys[0], joined.logits))
    assert not joined.queries


def test_rounding_linear_weights_once_changes_nothing_under_autocast() -> None:
    model, rounded = model_of(0), model_of(0)
    round_linear_(rounded)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        plain, other = (each(**inputs()).last_hidden_state for each in (model, rounded))
    assert torch.equal(plain, other)


def test_a_head_that_shares_the_input_table_leaves_it_unrounded() -> None:
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)).eval()
    table = model.get_input_embeddings().weight.clone()
    round_linear_(model)
    assert torch.equal(model.get_input_embeddings().weight, table)
    assert model.cls.predictions.transform.dense.weight.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(**inputs()).logits.isfinite().all()
