"""Which tensors a student of chosen layers has, and what its configuration says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.layer_map import LayerMap, bottom, every_nth
from polycompress.distill.layer_table import FULL, REFUSED, SLIDING, STACKS
from polycompress.distill.layers import count_layers, plan_layers
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import open_checkpoint
from tests.tiny_models import RECIPES, make_tiny

NAMES = {
    "bert": "bert.encoder.layer.{}.attention.self.query.weight",
    "roberta": "roberta.encoder.layer.{}.output.dense.bias",
    "xlm-roberta": "encoder.layer.{}.attention.output.LayerNorm.weight",
    "distilbert": "distilbert.transformer.layer.{}.ffn.lin1.weight",
    "deberta-v2": "deberta.encoder.layer.{}.attention.self.query_proj.weight",
    "mpnet": "mpnet.encoder.layer.{}.attention.attn.q.weight",
    "modernbert": "model.layers.{}.attn.Wqkv.weight",
    "electra": "electra.encoder.layer.{}.intermediate.dense.weight",
    "llama": "model.layers.{}.self_attn.q_proj.weight",
    "qwen3": "model.layers.{}.self_attn.q_norm.weight",
    "gpt2": "transformer.h.{}.attn.c_attn.weight",
    "bloom": "h.{}.self_attention.dense.weight",
    "xglm": "model.layers.{}.fc1.weight",
}
OTHERS = ("embeddings.word_embeddings.weight", "encoder.rel_embeddings.weight", "classifier.layer.weight")


def checkpoint(model_type: str, layers: int, **more: Any) -> tuple[dict[str, Any], list[str]]:
    config = {"model_type": model_type, STACKS[model_type].counts[0]: layers, **more}
    return config, [OTHERS[0], *(NAMES[model_type].format(layer) for layer in range(layers)), *OTHERS[1:]]


@pytest.mark.parametrize("model_type", NAMES)
@given(st.integers(1, 24), st.data())
def test_each_layer_comes_from_the_one_that_the_map_names(
    model_type: str, layers: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.sets(st.integers(0, layers - 1), min_size=1).map(sorted))
    config, names = checkpoint(model_type, layers)
    plan = plan_layers(config, names, LayerMap(tuple(chosen), layers))
    for own, layer in enumerate(chosen):
        assert plan.renamed[NAMES[model_type].format(own)] == NAMES[model_type].format(layer)
    assert all(plan.renamed[name] == name for name in OTHERS)
    assert count_layers(plan.config) == len(chosen)
    assert len(plan.renamed) == len(chosen) + len(OTHERS)
    assert sorted([*plan.renamed.values(), *plan.dropped]) == sorted(names)


@pytest.mark.parametrize("model_type", NAMES)
def test_all_layers_give_the_source(model_type: str) -> None:
    config, names = checkpoint(model_type, 6, use_sliding_window=True, max_window_layers=3)
    plan = plan_layers(config, names, bottom(6, 6))
    assert plan.config == config
    assert plan.config is not config
    assert plan.renamed == {name: name for name in names}
    assert not plan.dropped
    assert not plan.notes


def test_the_configuration_is_left_as_it_was() -> None:
    config, names = checkpoint("modernbert", 6, layer_types=[FULL, SLIDING, SLIDING] * 2)
    before = json.dumps(config)
    plan_layers(config, names, every_nth(6, 2))
    assert json.dumps(config) == before


def kinds_of(config: Mapping[str, Any], names: list[str], *layers: int) -> list[str]:
    kinds: list[str] = plan_layers(config, names, LayerMap(layers, count_layers(config))).config[
        "layer_types"
    ]
    return kinds


def test_a_list_of_kinds_is_cut_as_the_layers_are() -> None:
    config, names = checkpoint("llama", 4, layer_types=[FULL, SLIDING, "linear_attention", FULL])
    assert kinds_of(config, names, 1, 2) == [SLIDING, "linear_attention"]


def test_modernbert_keeps_what_each_layer_sees() -> None:
    config, names = checkpoint("modernbert", 6, global_attn_every_n_layers=3)
    plan = plan_layers(config, names, LayerMap((0, 2, 3, 5), 6))
    assert plan.config["layer_types"] == [FULL, SLIDING, FULL, SLIDING]
    assert plan.config["global_attn_every_n_layers"] == 2
    assert not plan.notes
    plan = plan_layers(config, names, LayerMap((1, 3, 5), 6))
    assert plan.config["layer_types"] == [SLIDING, FULL, SLIDING]
    assert "global_attn_every_n_layers" not in plan.config
    assert "no fixed rhythm" in plan.notes[0]


def test_modernbert_uses_its_own_rhythm_where_the_file_names_none() -> None:
    config, names = checkpoint("modernbert", 6)
    assert kinds_of(config, names, 2, 3) == [SLIDING, FULL]


def test_the_norm_that_the_lowest_layer_lacks_is_dropped_and_said() -> None:
    config, names = checkpoint("modernbert", 3)
    norms = [f"model.layers.{layer}.attn_norm.weight" for layer in (1, 2)]
    plan = plan_layers(config, [*names, *norms], LayerMap((1, 2), 3))
    assert norms[0] in plan.dropped
    assert plan.renamed["model.layers.1.attn_norm.weight"] == norms[1]
    assert norms[0] in plan.notes[0]


def test_qwen_moves_its_first_windowed_layer() -> None:
    config, names = checkpoint("qwen3", 6, use_sliding_window=True, max_window_layers=4)
    plan = plan_layers(config, names, LayerMap((1, 3, 5), 6))
    assert plan.config["layer_types"] == [FULL, FULL, SLIDING]
    assert plan.config["max_window_layers"] == 2
    config, names = checkpoint("qwen3", 6, use_sliding_window=False, max_window_layers=4)
    assert plan_layers(config, names, every_nth(6, 3)).config["max_window_layers"] == 4


@pytest.mark.parametrize(
    ("model_type", "more", "wanted"),
    [
        ("gemma2", {}, [FULL, SLIDING, FULL]),
        ("gemma3_text", {"sliding_window_pattern": 2}, [FULL, SLIDING, FULL]),
        ("gemma3_text", {"_sliding_window_pattern": 3}, [SLIDING, FULL, SLIDING]),
    ],
)
def test_gemmas_turns_are_written_out(model_type: str, more: dict[str, Any], wanted: list[str]) -> None:
    config = {"model_type": model_type, "num_hidden_layers": 6, **more}
    names = [f"model.layers.{layer}.mlp.up_proj.weight" for layer in range(6)]
    plan = plan_layers(config, names, LayerMap((1, 2, 3), 6))
    assert plan.config["layer_types"] == wanted
    assert not {"sliding_window_pattern", "_sliding_window_pattern"} & plan.config.keys()


def test_pruned_heads_move_with_their_layers() -> None:
    config, names = checkpoint("bert", 4, pruned_heads={"1": [0], "2": [1]})
    plan = plan_layers(config, names, LayerMap((1, 3), 4))
    assert plan.config["pruned_heads"] == {"0": [0]}


def test_gpt2_that_scales_by_layer_keeps_its_first_layers_only() -> None:
    config, names = checkpoint("gpt2", 4, scale_attn_by_inverse_layer_idx=True)
    assert plan_layers(config, names, bottom(4, 2)).config["n_layer"] == 2
    with pytest.raises(InputError, match="use the strategy 'bottom'"):
        plan_layers(config, names, every_nth(4, 2))


@pytest.mark.parametrize("model_type", REFUSED)
def test_what_has_no_layers_of_its_own_is_refused_with_a_reason(model_type: str) -> None:
    with pytest.raises(
        InputError, match=rf"{model_type}.*(share one set of weights|an encoder and a decoder)"
    ):
        plan_layers({"model_type": model_type, "num_hidden_layers": 2}, [], bottom(2, 1))


def test_an_encoder_decoder_of_another_type_is_refused_by_its_flag() -> None:
    with pytest.raises(InputError, match="an encoder and a decoder"):
        count_layers({"model_type": "bert", "num_hidden_layers": 2, "is_encoder_decoder": True})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no model_type"),
        ({"model_type": "mamba"}, "'mamba' numbers its layers. Known types: bert, bloom"),
        ({"model_type": "bert"}, "no 'num_hidden_layers'"),
        ({"model_type": "bert", "num_hidden_layers": "6"}, "is '6', no number"),
        ({"model_type": "bert", "num_hidden_layers": True}, "is True, no number"),
        ({"model_type": "gpt2", "n_layer": 2, "num_hidden_layers": 3}, "n_layer 2, num_hidden_layers 3"),
    ],
)
def test_a_configuration_that_does_not_count_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_layers(config)


def test_all_faults_are_named_at_once() -> None:
    config, names = checkpoint("llama", 4, layer_types=[FULL])
    names.remove(NAMES["llama"].format(2))
    names.append(NAMES["llama"].format(9))
    with pytest.raises(InputError) as caught:
        plan_layers(config, names, bottom(6, 3))
    for part in ("teacher of 6 layers", "a list of 4 names", "no tensors of layer 2", "tensors of layer 9"):
        assert part in str(caught.value)


@pytest.mark.parametrize("family", sorted(STACKS.keys() & RECIPES.keys()))
def test_the_table_fits_the_files_that_transformers_writes(family: str, tmp_path: Path) -> None:
    path = make_tiny(family, RECIPES[family].heads[0], tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    names = list(open_checkpoint(path).tensors)
    plan = plan_layers(config, names, bottom(2, 1))
    assert count_layers(plan.config) == 1
    assert {name.replace(".1.", ".0.") for name in plan.dropped} <= {
        name for name in names if ".0." in name
    } | {name.replace(".1.", ".0.") for name in names if "attn_norm" in name}
    assert plan.dropped
