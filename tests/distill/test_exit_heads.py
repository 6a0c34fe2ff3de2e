"""A model cut to its lower layers says what the exit above them said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polycompress.distill.exit_heads import check_exits, exit_head
from polycompress.distill.layer_map import bottom
from polycompress.errors import InputError
from polycompress.pipelines.distilling.student_files import write_student
from tests.tiny_models import make_tiny

LOADERS = {
    "sequence": transformers.AutoModelForSequenceClassification,
    "token": transformers.AutoModelForTokenClassification,
    "qa": transformers.AutoModelForQuestionAnswering,
}


def load(path: Path, head: str) -> Any:
    return LOADERS[head].from_pretrained(path).eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 100, (2, 5), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.tensor([[1] * 5, [1] * 4 + [0]])}


@pytest.mark.parametrize(
    ("family", "head"),
    [
        (family, head)
        for family in ("bert", "xlm-roberta", "distilbert", "electra", "mpnet", "deberta-v2")
        for head in ("sequence", "token")
    ],
)
def test_a_model_cut_at_an_exit_says_what_the_exit_says(tmp_path: Path, family: str, head: str) -> None:
    path = make_tiny(family, head, tmp_path / "whole", vocab_size=350)
    model = load(path, head)
    write_student(path, bottom(2, 1), tmp_path / "cut", {"command": []})
    cut = load(tmp_path / "cut", head)
    read = exit_head(model)
    with torch.no_grad():
        states = model(**batch(), output_hidden_states=True).hidden_states
        for layers, smaller in ((1, cut), (2, model)):
            found, wanted = read(states[layers]), smaller(**batch()).logits
            real = batch()["attention_mask"].bool() if head == "token" else slice(None)
            torch.testing.assert_close(found[real], wanted[real], atol=1e-6, rtol=1e-6)


def test_gradients_reach_the_head_and_the_layers_below(tmp_path: Path) -> None:
    model = load(make_tiny("bert", "sequence", tmp_path, vocab_size=350), "sequence")
    states = model(**batch(), output_hidden_states=True).hidden_states
    exit_head(model)(states[1]).square().sum().backward()
    assert model.classifier.weight.grad.any() and model.bert.pooler.dense.weight.grad.any()
    assert model.bert.encoder.layer[0].output.dense.weight.grad.any()
    assert model.bert.encoder.layer[1].output.dense.weight.grad is None


def test_what_has_no_exits(tmp_path: Path) -> None:
    assert "a norm may follow the last one" in check_exits("modernbert")[0]
    with pytest.raises(InputError, match=r"of the type 'gpt2', of which it is not known"):
        exit_head(load(make_tiny("gpt2", "sequence", tmp_path / "g", vocab_size=350), "sequence"))
    with pytest.raises(InputError, match=r"BertForQuestionAnswering has no head that classifies"):
        exit_head(load(make_tiny("bert", "qa", tmp_path / "q", vocab_size=350), "qa"))


def test_a_head_that_was_changed_is_found_out(tmp_path: Path) -> None:
    model = load(make_tiny("bert", "sequence", tmp_path, vocab_size=350), "sequence")
    model.register_forward_hook(lambda module, given, output: _doubled(output))
    with pytest.raises(InputError, match=r"makes something else of the last layer's hidden states"):
        exit_head(model)


def _doubled(output: Any) -> Any:
    output.logits = output.logits * 2
    return output
