from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from polycompress.errors import InputError
from polycompress.modeldir.axes_table import MOE_BASES
from polycompress.modeldir.directory import read_json
from polycompress.moe.config import MoeConfig
from polycompress.moe.places import PLACES, expert_networks, place_of, plain_networks
from tests.tiny_models import make_tiny


@dataclass(frozen=True)
class Info:
    shape: tuple[int, ...]


BERT = {"model_type": "bert", "num_hidden_layers": 2, "hidden_size": 4, "intermediate_size": 6}
MOE = MoeConfig(layers=(1,), experts=3, top_k=1, families={"A": (0, 1, 2)}, languages={})


def bert(prefix: str = "bert.") -> dict[str, Info]:
    """Tensors of the networks of two layers, and one beside them."""
    found = {}
    for layer in (0, 1):
        start = f"{prefix}encoder.layer.{layer}."
        found[f"{start}intermediate.dense.weight"] = Info((6, 4))
        found[f"{start}intermediate.dense.bias"] = Info((6,))
        found[f"{start}output.dense.weight"] = Info((4, 6))
        found[f"{start}output.dense.bias"] = Info((4,))
        found[f"{start}output.LayerNorm.weight"] = Info((4,))
    return found


def with_experts() -> dict[str, Info]:
    """The same with experts in the upper layer."""
    start = "bert.encoder.layer.1."
    plain = {name: info for name, info in bert().items() if not name.startswith(start) or "LayerNorm" in name}
    return plain | {
        f"{start}moe.router.weight": Info((3, 4)),
        f"{start}moe.experts.up": Info((3, 6, 4)),
        f"{start}moe.experts.up_bias": Info((3, 6)),
        f"{start}moe.experts.down": Info((3, 4, 6)),
        f"{start}moe.experts.down_bias": Info((3, 4)),
    }


def test_the_table_has_the_types_whose_directories_can_be_read() -> None:
    assert set(PLACES) == set(MOE_BASES)


@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_a_plain_network_is_found_under_either_prefix(prefix: str) -> None:
    (found,) = plain_networks(BERT, bert(prefix), [1])
    start = f"{prefix}encoder.layer.1."
    assert (found.layer, found.hidden, found.inner) == (1, 4, 6)
    assert found.router == f"{start}moe.router.weight"
    pairs = dict(zip(found.plain, found.experts, strict=True))
    assert pairs == {
        f"{start}intermediate.dense.weight": f"{start}moe.experts.up",
        f"{start}intermediate.dense.bias": f"{start}moe.experts.up_bias",
        f"{start}output.dense.weight": f"{start}moe.experts.down",
        f"{start}output.dense.bias": f"{start}moe.experts.down_bias",
    }
    assert [found.shape_of(part, 5) for part in found.plain.values()] == [
        (5, 6, 4),
        (5, 6),
        (5, 4, 6),
        (5, 4),
    ]


def test_networks_with_experts_are_found() -> None:
    (found,) = expert_networks({**BERT, "model_type": "moe-bert"}, with_experts(), MOE)
    assert set(found.experts) <= set(with_experts())
    assert list(found.plain) == list(plain_networks(BERT, bert(), [1])[0].plain)


@pytest.mark.parametrize("family", sorted(PLACES))
def test_every_type_of_the_table_has_its_networks_there(family: str, tmp_path: Path) -> None:
    make_tiny(family, "clm" if PLACES[family].gated else "mlm", tmp_path)
    config = read_json(tmp_path, "config.json")
    assert config is not None
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        tensors = {name: Info(tuple(file.get_slice(name).get_shape())) for name in file.keys()}
    found = plain_networks(config, tensors, range(config["num_hidden_layers"]))
    names = {name for each in found for name in each.plain}
    assert names and names <= set(tensors)
    # nothing but attention and norms is left in the layers
    left = {name.split(".")[-2] for name in set(tensors) - names if re.search(r"layers?\.\d", name)}
    known = {"query", "key", "value", "dense", "LayerNorm", "q_proj", "k_proj", "v_proj", "o_proj"}
    assert left <= known | {"q_norm", "k_norm", "input_layernorm", "post_attention_layernorm"}


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        ({"model_type": "t5"}, {}, "model_type 't5': it is not known where its feed-forward networks lie"),
        ({"model_type": None}, {}, "Known types: bert, camembert, llama"),
        ({"hidden_size": "4"}, {}, "config.json: 'hidden_size' is '4', not a number"),
        ({"num_hidden_layers": 1}, {}, "Layer 1: the model has layers 0 to 0"),
        (
            {},
            {"bert.encoder.layer.1.intermediate.dense.bias": None},
            "bert.encoder.layer.1.intermediate.dense.bias is missing",
        ),
        (
            {},
            {"bert.encoder.layer.1.output.dense.weight": Info((6, 4))},
            "bert.encoder.layer.1.output.dense.weight is [6, 4] instead of [4, 6]",
        ),
        (
            {},
            {"bert.encoder.layer.1.intermediate.gate.weight": Info((6, 4))},
            "bert.encoder.layer.1.intermediate.gate.weight [6, 4] is not understood",
        ),
    ],
)
def test_networks_that_are_not_understood_are_refused(
    config: dict[str, Any], change: dict[str, Info | None], message: str
) -> None:
    tensors = {name: info for name, info in (bert() | change).items() if info is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        plain_networks(BERT | config, tensors, [0, 1])


def test_a_gated_network_with_biases_is_refused_by_name() -> None:
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 4, "intermediate_size": 6}
    tensors = {
        f"model.layers.0.mlp.{name}": Info(shape)
        for name, shape in {
            "gate_proj.weight": (6, 4),
            "up_proj.weight": (6, 4),
            "down_proj.weight": (4, 6),
            "gate_proj.bias": (6,),
        }.items()
    }
    with pytest.raises(
        InputError, match=re.escape("model.layers.0.mlp.gate_proj.bias [6] is not understood")
    ):
        plain_networks(config, tensors, [0])


def test_experts_of_other_shapes_are_refused() -> None:
    config = {**BERT, "model_type": "moe-bert"}
    tensors = with_experts() | {"bert.encoder.layer.1.moe.router.weight": Info((2, 4))}
    with pytest.raises(InputError, match=r"moe.router.weight is \[2, 4\] instead of \[3, 4\]"):
        expert_networks(config, tensors, MOE)
    tensors = with_experts() | {"bert.encoder.layer.1.output.dense.weight": Info((4, 6))}
    with pytest.raises(InputError, match=r"output.dense.weight \[4, 6\] is not understood"):
        expert_networks(config, tensors, MOE)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(
        InputError, match=re.escape("no layers where its type keeps them (bert.encoder.layer.0.*")
    ):
        plain_networks(BERT, {"h.0.mlp.weight": Info((1,))}, [0])


def test_types_of_models_with_experts_are_no_plain_ones() -> None:
    with pytest.raises(InputError, match="model_type 'moe-bert'"):
        place_of("moe-bert")
