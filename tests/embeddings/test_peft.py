"""Adapters of the library peft on a factorised model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification

from polycompress.embeddings.registering import register
from polycompress.pipelines.factorise import factorise_model
from tests.tiny_models import make_tiny

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 1]])
LABELS = torch.tensor([0, 1])


@pytest.fixture(scope="module")
def factorised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adapted")
    factorise_model(
        make_tiny("xlm-roberta", "sequence", root / "plain", vocab_size=300), rank=5, out=root / "f"
    )
    register("xlm-roberta")
    return root / "f"


@pytest.mark.parametrize("saved", [None, ["classifier"], ["word_embeddings"]], ids=str)
def test_adapters_train_save_load_and_merge(
    factorised: Path, tmp_path: Path, saved: list[str] | None
) -> None:
    adapted = get_peft_model(
        load(factorised),
        LoraConfig(
            task_type="SEQ_CLS",
            r=2,
            target_modules=["query", "value"],
            modules_to_save=saved,
            init_lora_weights=False,
        ),
    )
    before = answers(adapted)
    optimiser = torch.optim.AdamW([each for each in adapted.parameters() if each.requires_grad], lr=0.01)
    adapted.train()
    adapted(input_ids=IDS, labels=LABELS).loss.backward()
    optimiser.step()
    trained = answers(adapted)
    assert not torch.equal(before, trained)

    adapted.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(load(factorised), tmp_path)
    assert torch.equal(answers(again), trained)
    assert torch.allclose(answers(adapted.merge_and_unload()), trained, atol=1e-6)


def load(path: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(path)


def answers(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(input_ids=IDS).logits
    return logits
