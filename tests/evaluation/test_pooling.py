from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polycompress.errors import InputError
from polycompress.evaluation.forward import embed
from polycompress.evaluation.models import load_task_model
from polycompress.evaluation.pooling import MODES, Pooling, pool, read_pooling
from tests.evaluation.tiny_task_models import tiny
from tests.tiny_models import TEXTS


def write_modules(path: Path, *modules: tuple[str, dict[str, Any]]) -> None:
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, (kind, settings) in enumerate(modules, 1):
        folder = path / f"{number}_{kind}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(settings))
        type_name = f"sentence_transformers.models.{kind}"
        listed.append({"idx": number, "name": str(number), "path": folder.name, "type": type_name})
    (path / "modules.json").write_text(json.dumps(listed))


def states() -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor([[[1.0, 2], [3, 6], [99, 99]], [[4.0, 4], [0, 1], [2, 1]]])
    return values, torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("cls", [[1, 2], [4, 4]]),
        ("max", [[3, 6], [4, 4]]),
        ("mean", [[2, 4], [2, 2]]),
        ("mean_sqrt_len_tokens", [[4 / 2**0.5, 8 / 2**0.5], [6 / 3**0.5, 6 / 3**0.5]]),
        ("weightedmean", [[7 / 3, 14 / 3], [10 / 6, 9 / 6]]),
        ("lasttoken", [[3, 6], [2, 1]]),
    ],
)
def test_ways_of_pooling(mode: str, wanted: list[list[float]]) -> None:
    assert torch.allclose(pool(*states(), Pooling((mode,))), torch.tensor(wanted).float())


def test_several_ways_stand_side_by_side_and_are_normalised() -> None:
    found = pool(*states(), Pooling(("cls", "mean"), (None,)))
    wanted = torch.tensor([[1.0, 2, 2, 4], [4, 4, 2, 2]])
    assert torch.allclose(found, wanted / wanted.norm(dim=1, keepdim=True))


def test_without_modules_the_mean(tmp_path: Path) -> None:
    assert read_pooling(tmp_path).modes == ("mean",)
    assert read_pooling(tmp_path).steps == ()


@pytest.mark.parametrize(
    ("settings", "modes"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
        ({"pooling_mode": ["mean", "cls"]}, ("mean", "cls")),
    ],
)
def test_both_spellings_of_settings(settings: dict[str, Any], modes: tuple[str, ...], tmp_path: Path) -> None:
    write_modules(tmp_path, ("Pooling", settings), ("Normalize", {}))
    found = read_pooling(tmp_path)
    assert found.modes == modes
    assert found.steps == (None,)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("Pooling", {"pooling_mode": "median"}, "1_Pooling/config.json: pooling_mode 'median' is not known"),
        ("Pooling", {"pooling_mode": 3}, "pooling_mode 3 is not known"),
        ("LSTM", {}, "modules.json: the module 'LSTM' is not known"),
        ("Dense", {"activation_function": "os.system"}, "activation_function 'os.system' is not known"),
        ("Dense", {"use_residual": True}, "use_residual is not known"),
        ("Dense", {}, r"model\.safetensors: cannot be read"),
    ],
)
def test_modules_that_are_not_known(
    kind: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_modules(tmp_path, (kind, settings))
    with pytest.raises(InputError, match=message):
        read_pooling(tmp_path)


@pytest.mark.parametrize("content", ["{}", "[1]", '[{"type": 3}]'])
def test_damaged_modules(content: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(InputError, match=r"modules\.json: must be a list of modules"):
        read_pooling(tmp_path)


def test_a_layer_without_its_weight(tmp_path: Path) -> None:
    write_modules(tmp_path, ("Dense", {"in_features": 16, "out_features": 4}))
    save_file({"other": torch.zeros(1)}, tmp_path / "1_Dense" / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: holds no 'linear\.weight'"):
        read_pooling(tmp_path)


@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
def test_embeddings_are_those_of_sentence_transformers(family: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    path = tiny(family, "base", tmp_path / "m")
    modes = {"embedding_dimension": 16, "pooling_mode": list(MODES)}
    dense = {"in_features": 96, "out_features": 5, "bias": True, "activation_function": "torch.nn.Tanh"}
    write_modules(path, ("Pooling", modes), ("Dense", dense), ("Normalize", {}))
    generator = torch.Generator().manual_seed(0)
    layer = {
        "linear.weight": torch.randn((5, 96), generator=generator) / 10,
        "linear.bias": torch.randn(5, generator=generator),
    }
    save_file(layer, path / "2_Dense" / "model.safetensors")
    texts = [*TEXTS, "fox"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = library.SentenceTransformer(str(path), device="cpu").encode(texts)
    ours = embed(load_task_model(path, "retrieval", precision="fp32"), texts, batch_tokens=300)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_prompts(tmp_path: Path) -> None:
    path = tiny("bert", "base", tmp_path / "m")
    plain = load_task_model(path, "retrieval", precision="fp32")
    assert plain.prompt == ""
    prompts = {"prompts": {"query": "The ", "passage": "Der "}, "default_prompt_name": None}
    (path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    led = load_task_model(path, "retrieval", precision="fp32")
    wanted = embed(plain, ["The quick fox"])
    np.testing.assert_array_equal(embed(led, ["quick fox"]), wanted)
    np.testing.assert_array_equal(embed(led, ["The quick fox"], prefix=""), wanted)
    (path / "config_sentence_transformers.json").write_text(
        json.dumps({**prompts, "default_prompt_name": "passage"})
    )
    assert load_task_model(path, "retrieval").prompt == "Der "


def test_a_prompt_that_is_not_pooled_over(tmp_path: Path) -> None:
    path = tiny("bert", "base", tmp_path / "m")
    write_modules(path, ("Pooling", {"pooling_mode": "mean", "include_prompt": False}))
    model = load_task_model(path, "retrieval")
    assert embed(model, ["fox"]).shape == (1, 16)
    with pytest.raises(InputError, match="include_prompt is false"):
        embed(model, ["fox"], prefix="query: ")


def test_a_model_with_a_head_does_not_embed(tmp_path: Path) -> None:
    model = load_task_model(
        tiny("bert", "sequence", tmp_path / "m", ("a", "b")), "text-classification", ("a", "b")
    )
    with pytest.raises(ValueError, match="load it for retrieval"):
        embed(model, ["fox"])


def test_encoders_of_translators_embed(tmp_path: Path) -> None:
    model = load_task_model(tiny("t5", "base", tmp_path / "m"), "retrieval", precision="fp32")
    together = embed(model, list(TEXTS))
    assert together.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(embed(model, [TEXTS[3]])[0], together[3], rtol=1e-4, atol=1e-4)
    assert embed(model, []).shape == (0, 0)
