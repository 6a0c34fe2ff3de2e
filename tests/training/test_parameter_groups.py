from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from polycompress.errors import InputError
from polycompress.training.model import make_table_sparse
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.parameter_groups import Freeze, at_rates, freeze_, name_groups
from tests.tiny_models import RECIPES


def build(family: str, head: str = "AutoModelForSequenceClassification", **more: Any) -> Any:
    """A tiny model."""
    fields = {
        **RECIPES[family].sizes,
        "vocab_size": 60,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "bos_token_id": 0,
    }
    fields |= more
    if family == "modernbert":
        fields |= {"cls_token_id": 0, "sep_token_id": 2}
    config = transformers.AutoConfig.for_model(family, **fields)
    torch.manual_seed(0)
    return getattr(transformers, head).from_config(config)


FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "albert", "deberta-v2", "modernbert", "mpnet",
            "gpt2", "llama", "bloom")  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_in_one_group(family: str) -> None:
    model = build(family)
    groups = name_groups(model)
    names = [name for name, _ in model.named_parameters()]
    assert sorted(name for group in groups.groups.values() for name in group) == sorted(names)
    assert groups.layers == (1 if family == "albert" else 2)
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    table = by_id[id(model.get_input_embeddings().weight)]
    assert groups.group_of(table) == "embeddings"
    assert all(groups.groups[f"layer-{number}"] for number in range(groups.layers))
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    outside = [name for name, parameter in model.named_parameters() if id(parameter) not in inside]
    assert outside
    assert set(outside) <= set(groups.groups["head"])
    assert groups.norms_and_biases <= set(names)


def test_groups_of_an_encoder_by_name() -> None:
    groups = name_groups(build("xlm-roberta"))
    assert groups.groups["embeddings"][0] == "roberta.embeddings.word_embeddings.weight"
    assert all(name.startswith("roberta.embeddings.") for name in groups.groups["embeddings"])
    assert all(name.startswith("roberta.encoder.layer.1.") for name in groups.groups["layer-1"])
    assert set(groups.groups["head"]) == {
        "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight", "classifier.out_proj.bias",
    }  # fmt: skip
    assert "roberta.embeddings.LayerNorm.weight" in groups.norms_and_biases
    assert "roberta.encoder.layer.0.output.dense.bias" in groups.norms_and_biases
    assert "roberta.encoder.layer.0.output.dense.weight" not in groups.norms_and_biases
    assert set(name_groups(build("bert")).groups["head"]) >= {"bert.pooler.dense.weight", "classifier.weight"}


@pytest.mark.parametrize(
    ("text", "freeze"),
    [
        ("none", Freeze()),
        ("embeddings", Freeze(True, 0)),
        ("embeddings+6", Freeze(True, 6)),
    ],
)
def test_what_is_frozen_is_read(text: str, freeze: Freeze) -> None:
    assert Freeze.parse(text) == freeze


@pytest.mark.parametrize("text", ["all", "embeddings+", "embeddings+x", "layers+2", "embeddings +2", ""])
def test_what_cannot_be_frozen(text: str) -> None:
    with pytest.raises(InputError, match=r"freeze is '.*': give none, embeddings, or embeddings\+N"):
        Freeze.parse(text)


@pytest.mark.parametrize(("text", "groups"), [("none", ()), ("embeddings", ("embeddings",)),
                                              ("embeddings+1", ("embeddings", "layer-0"))])  # fmt: skip
def test_frozen_parameters_need_no_gradient(text: str, groups: tuple[str, ...]) -> None:
    model = build("bert")
    named = name_groups(model)
    names = freeze_(model, named, Freeze.parse(text))
    assert set(names) == {name for group in groups for name in named.groups[group]}
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == set(names)


def test_more_layers_than_there_are() -> None:
    model = build("bert")
    with pytest.raises(InputError, match="freeze names 3 layers, but the model has 2: give at most as many"):
        freeze_(model, name_groups(model), Freeze(True, 3))


def test_the_head_at_another_rate() -> None:
    model = build("bert")
    make_table_sparse(model)
    named = name_groups(model)
    parameters = dict(model.named_parameters())
    head = [parameters[name] for name in named.groups["head"]]
    groups = at_rates(param_groups(model, 0.1), head, 5.0)
    assert [(group["rows"], group["weight_decay"], group["rate_factor"]) for group in groups] == [
        (False, 0.1, 1.0), (False, 0.1, 5.0), (False, 0.0, 1.0), (False, 0.0, 5.0), (True, 0.1, 1.0),
    ]  # fmt: skip
    assert sum(len(group["params"]) for group in groups) == len(parameters)
    fast = {id(p) for group in groups if group["rate_factor"] == 5.0 for p in group["params"]}
    assert fast == {id(p) for p in head}
    optimiser = SplitAdamW(groups, lr=0.1)
    again = SplitAdamW(at_rates(param_groups(model, 0.1), head, 1.0), lr=0.2)
    again.load_state_dict(optimiser.state_dict())
    assert [group["rate_factor"] for group in again.param_groups] == [1.0, 5.0, 1.0, 5.0, 1.0]
