from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from polycompress.errors import InputError
from polycompress.training.task_model import HeadedModel, HeadKind, load_with_head
from tests.evaluation.tiny_task_models import LABELS, TAGS, tiny
from tests.tiny_models import make_tiny


def load(path: Path, head: HeadKind, labels: tuple[str, ...] = LABELS, seed: int = 3) -> HeadedModel:
    torch.manual_seed(seed)
    return load_with_head(path, json.loads((path / "config.json").read_text()), head, labels, "some-task")


def parameters(loaded: HeadedModel) -> dict[str, Any]:
    return dict(loaded.model.named_parameters())


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "llama"])
@pytest.mark.parametrize(
    ("head", "labels", "ending"),
    [
        ("sequence", LABELS, "ForSequenceClassification"),
        ("token", TAGS, "ForTokenClassification"),
        ("span", (), "ForQuestionAnswering"),
    ],
)
def test_an_encoder_gets_a_head(
    tmp_path: Path, family: str, head: HeadKind, labels: tuple[str, ...], ending: str
) -> None:
    path = make_tiny(family, "base", tmp_path / "m")
    loaded = load(path, head, labels)
    assert type(loaded.model).__name__.endswith(ending)
    assert loaded.fresh
    assert loaded.model.config.finetuning_task == "some-task"
    if labels:
        assert loaded.model.config.id2label == dict(enumerate(labels))
        assert loaded.model.config.label2id == {label: number for number, label in enumerate(labels)}
    stored = load_file(path / "model.safetensors")
    base = {name: tensor for name, tensor in loaded.model.base_model.named_parameters() if name in stored}
    assert base
    assert all(torch.equal(stored[name], tensor) for name, tensor in base.items())


def test_a_new_head_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = make_tiny("bert", "base", tmp_path / "m")
    one, same, other = (parameters(load(path, "sequence", seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one["classifier.weight"], same["classifier.weight"])
    assert not torch.equal(one["classifier.weight"], other["classifier.weight"])


def test_a_head_of_the_same_labels_is_kept(tmp_path: Path) -> None:
    path = tiny("xlm-roberta", "sequence", tmp_path / "m")
    loaded = load(path, "sequence")
    assert loaded.fresh == ()
    stored = load_file(path / "model.safetensors")
    assert torch.equal(stored["classifier.out_proj.weight"], parameters(loaded)["classifier.out_proj.weight"])


@pytest.mark.parametrize("labels", [("neutral", "entailment", "contradiction"), ("a", "b"), ("a", "b", "c")])
def test_a_head_of_other_labels_is_made_anew(tmp_path: Path, labels: tuple[str, ...]) -> None:
    path = tiny("xlm-roberta", "sequence", tmp_path / "m")
    loaded = load(path, "sequence", labels)
    assert set(loaded.fresh) == {
        f"classifier.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")
    }
    found = parameters(loaded)
    assert found["classifier.out_proj.weight"].shape[0] == len(labels)
    stored = load_file(path / "model.safetensors")
    assert not torch.equal(stored["classifier.dense.weight"], found["classifier.dense.weight"])
    name = "roberta.encoder.layer.0.output.dense.weight"
    assert torch.equal(stored[name], found[name])


def test_a_language_model_loses_its_head(tmp_path: Path) -> None:
    loaded = load(make_tiny("xlm-roberta", "mlm", tmp_path / "m"), "token", TAGS)
    assert any(name.startswith("lm_head") for name in loaded.unused)
    assert loaded.dtype == torch.float32


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = make_tiny("bert", "base", tmp_path / "m")
    tensors = load_file(path / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 parameters of the model itself, such as bert\.encoder"):
        load(path, "sequence")


def test_a_family_without_such_a_head(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transformers cannot load this model"):
        load(make_tiny("xglm", "clm", tmp_path / "m"), "sequence")
