from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open

from polycompress.embeddings.models import checked_rank
from polycompress.embeddings.module import FactorisedEmbedding, FactorisedHead
from polycompress.embeddings.registering import register
from polycompress.errors import InputError
from polycompress.modeldir.directory import read_json
from polycompress.own_models import model_class, register_for
from polycompress.pipelines.dense_export import export_dense
from polycompress.pipelines.factorise import factorise_model
from tests.tampering import edit, variant
from tests.tiny_models import HEADS, make_tiny

FAMILIES = [
    ("xlm-roberta", "mlm"),
    ("bert", "pretraining"),
    ("albert", "mlm"),
    ("electra", "token"),
    ("distilbert", "qa"),
    ("modernbert", "mlm"),
    ("t5", "s2s"),
    ("bart", "s2s"),
    ("m2m_100", "s2s"),
    ("gpt2", "clm"),
    ("llama", "clm"),
    ("qwen2", "sequence"),
    ("qwen3_moe", "clm"),
    ("gemma3_text", "clm"),
]
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 1]])


@pytest.fixture(scope="module")
def factorised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied masked language model at rank 5."""
    root = tmp_path_factory.mktemp("tied")
    factorise_model(make_tiny("xlm-roberta", "mlm", root / "plain", vocab_size=300), rank=5, out=root / "f")
    register("xlm-roberta")
    return root / "f"


def load(path: Path, head: str) -> tuple[Any, dict[str, Any]]:
    register_for(read_json(path, "config.json") or {})
    model, info = getattr(transformers, HEADS[head]).from_pretrained(path, output_loading_info=True)
    return model.eval(), info


def outputs(model: Any) -> torch.Tensor:
    more = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    if model.config.pad_token_id is None:
        model.config.pad_token_id = 0
    with torch.no_grad():
        return model(input_ids=IDS, **more)[0]


@pytest.mark.parametrize(("family", "head"), FAMILIES)
def test_factorised_and_dense_forms_agree(family: str, head: str, tmp_path: Path) -> None:
    plain = make_tiny(family, head, tmp_path / "plain", vocab_size=300)
    whole = 12 if family in ("albert", "electra") else 16
    before, _ = load(plain, head)
    for rank in (whole, 5):
        at = tmp_path / f"rank-{rank}"
        factorise_model(plain, rank=rank, out=at)
        export_dense(at, out=tmp_path / f"dense-{rank}")
        model, info = load(at, head)
        dense, other = load(tmp_path / f"dense-{rank}", head)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        assert not other["missing_keys"] and not other["unexpected_keys"]
        assert type(model).__name__ == f"Factorised{type(dense).__name__}"
        wanted = outputs(dense)
        torch.testing.assert_close(outputs(model), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
        if rank == whole:  # nothing was lost
            original = outputs(before)
            torch.testing.assert_close(wanted, original, rtol=0, atol=2e-5 * float(original.abs().max()))
        table = model.get_input_embeddings()
        saved = table.num_embeddings * table.embedding_dim - sum(each.numel() for each in table.parameters())
        assert model.num_parameters() == dense.num_parameters() - saved


def test_both_ends_share_their_parameters(factorised: Path) -> None:
    model, _ = load(factorised, "mlm")
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert isinstance(table, FactorisedEmbedding) and isinstance(head, FactorisedHead)
    assert head.coordinates is table.coordinates and head.primitives is table.primitives
    before = outputs(model)
    with torch.no_grad():
        table.primitives.mul_(1.5)
    assert not torch.allclose(outputs(model), before)
    torch.testing.assert_close(head.weight, table.weight)


def test_gradients_reach_both_factors_as_they_reach_the_dense_table(factorised: Path, tmp_path: Path) -> None:
    export_dense(factorised, out=tmp_path / "dense")
    model, dense = load(factorised, "mlm")[0], load(tmp_path / "dense", "mlm")[0]
    for each in (model, dense):
        each(input_ids=IDS, labels=IDS).loss.backward()
    table, wanted = model.get_input_embeddings(), dense.get_input_embeddings().weight.grad
    with torch.no_grad():
        torch.testing.assert_close(table.coordinates.grad, wanted @ table.primitives.T, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(table.primitives.grad, table.coordinates.T @ wanted, rtol=1e-3, atol=1e-6)


def test_saving_writes_nothing_twice_and_loads_back(factorised: Path, tmp_path: Path) -> None:
    model, _ = load(factorised, "mlm")
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert sum(file.get_tensor(name).numel() for name in names) == model.num_parameters()
    factors = {name for name in names if name.endswith(("coordinates", "primitives"))}
    assert factors == {f"roberta.embeddings.word_embeddings.{each}" for each in ("coordinates", "primitives")}
    config = read_json(tmp_path, "config.json")
    assert config is not None and config["model_type"] == "factorised-xlm-roberta"
    assert config["factorised_rank"] == 5 and config["architectures"] == ["FactorisedXLMRobertaForMaskedLM"]
    again, info = load(tmp_path, "mlm")
    assert not info["missing_keys"] and torch.equal(outputs(again), outputs(model))


@pytest.mark.parametrize("by_mean", [True, False])
def test_tables_are_resized_at_both_ends(factorised: Path, tmp_path: Path, by_mean: bool) -> None:
    model, _ = load(factorised, "mlm")
    rows, before = model.get_input_embeddings().num_embeddings, outputs(model)
    table = model.resize_token_embeddings(rows + 3, pad_to_multiple_of=8, mean_resizing=by_mean)
    wanted = -(-(rows + 3) // 8) * 8
    head = model.get_output_embeddings()
    assert table is model.get_input_embeddings() and head.coordinates is table.coordinates
    assert (table.num_embeddings, len(table.coordinates), head.out_features, len(head.bias)) == (wanted,) * 4
    assert model.config.vocab_size == wanted
    after = outputs(model)
    assert torch.equal(after[..., :rows], before) and after.shape[-1] == wanted
    if by_mean:
        mean = table.weight[:rows].mean(dim=0)
        torch.testing.assert_close(table.weight[rows:], mean.expand(wanted - rows, -1))
    else:
        assert 0 < float(table.weight[rows:].detach().std()) < 0.06
    model.save_pretrained(tmp_path)
    again, info = load(tmp_path, "mlm")
    assert not info["missing_keys"] and torch.equal(outputs(again), after)
    model.resize_token_embeddings(20)
    assert outputs(model).shape[-1] == 20 and len(model.get_output_embeddings().bias) == 20
    assert model.resize_token_embeddings() is table


def test_untied_heads_stay_dense(tmp_path: Path) -> None:
    plain = make_tiny("llama", "clm", tmp_path / "plain", tied=False, vocab_size=300)
    factorise_model(plain, rank=16, out=tmp_path / "f")
    model, info = load(tmp_path / "f", "clm")
    assert not info["missing_keys"] and type(model.get_output_embeddings()) is torch.nn.Linear
    torch.testing.assert_close(outputs(model), outputs(load(plain, "clm")[0]), rtol=1e-4, atol=1e-4)
    model.resize_token_embeddings(50)
    assert outputs(model).shape[-1] == 50


def test_a_base_model_gets_a_head_tied_to_its_factors(tmp_path: Path) -> None:
    factorise_model(
        make_tiny("xlm-roberta", "base", tmp_path / "plain", vocab_size=300), rank=4, out=tmp_path / "f"
    )
    model, info = load(tmp_path / "f", "mlm")
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"lm_head"}
    assert model.get_output_embeddings().coordinates is model.get_input_embeddings().coordinates


def test_new_models_start_as_their_family_does() -> None:
    settings = {"vocab_size": 3000, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    register("bert")
    config = transformers.AutoConfig.for_model("factorised-bert", **settings, factorised_rank=16)
    torch.manual_seed(0)
    model = transformers.AutoModelForMaskedLM.from_config(config)
    assert float(model.get_input_embeddings().weight.detach()[1:].std()) == pytest.approx(0.02, rel=0.1)
    assert model.get_output_embeddings().coordinates is model.get_input_embeddings().coordinates


def test_a_checkpoint_without_its_factors_gets_random_ones(factorised: Path, tmp_path: Path) -> None:
    model, _ = load(factorised, "mlm")
    kept = {name: each for name, each in model.state_dict().items() if "coordinates" not in name}
    model.save_pretrained(tmp_path, state_dict={name: each.contiguous() for name, each in kept.items()})
    again, info = load(tmp_path, "mlm")
    assert any("coordinates" in name for name in info["missing_keys"])
    assert torch.isfinite(again.get_input_embeddings().coordinates).all()
    assert 0 < float(again.get_input_embeddings().coordinates.detach().abs().max()) < 10


def test_checkpointing_of_activations_gives_the_same_gradients(factorised: Path) -> None:
    found = []
    for checkpointing in (False, True):
        model, _ = load(factorised, "mlm")
        if checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        model.train()
        torch.manual_seed(0)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model(input_ids=IDS, labels=IDS).loss.backward()
        found.append(model.get_input_embeddings().primitives.grad)
    torch.testing.assert_close(found[0], found[1])


def test_a_plain_optimiser_trains_it(factorised: Path) -> None:
    model, _ = load(factorised, "mlm")
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(5):
        loss = model(input_ids=IDS, labels=IDS).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_configurations_without_a_rank_are_refused(factorised: Path, tmp_path: Path) -> None:
    wrong = variant(factorised, tmp_path / "none", edit("config.json", factorised_rank=None))
    with pytest.raises(InputError, match="factorised_rank is None"):
        load(wrong, "mlm")
    wrong = variant(factorised, tmp_path / "wide", edit("config.json", factorised_rank=99))
    with pytest.raises(InputError, match="factorised_rank is 99, but the table is 16 wide"):
        load(wrong, "mlm")
    with pytest.raises(InputError, match="factorised_rank is True"):
        checked_rank(type("C", (), {"factorised_rank": True}))


def test_names_lead_to_classes(factorised: Path) -> None:
    config = read_json(factorised, "config.json") or {}
    found = model_class("FactorisedXLMRobertaForMaskedLM", config)
    assert found is not None and found.config_class.model_type == "factorised-xlm-roberta"
    assert model_class("FactorisedNothing", config) is None
    assert model_class("BertModel", {"model_type": "bert"}) is transformers.BertModel
    assert model_class("logging", {"model_type": "bert"}) is None
    with pytest.raises(InputError, match="'factorised-unheard': the installed transformers has no 'unheard'"):
        register_for({"model_type": "factorised-unheard"})


@pytest.mark.slow  # a process of its own imports every family
def test_importing_the_module_is_enough_for_auto_classes(factorised: Path) -> None:
    code = (
        "import sys, polycompress; assert 'torch' not in sys.modules\n"
        "import polycompress.auto\n"
        "from transformers import AutoConfig, AutoModel, AutoTokenizer, AutoModelForTokenClassification\n"
        f"model, tokenizer = (each.from_pretrained({str(factorised)!r}) for each in (AutoModel, AutoTokenizer))\n"
        "print(type(model).__name__, tokenizer('Ankara')['input_ids'][0] >= 0)\n"
        f"print(type(AutoModelForTokenClassification.from_pretrained({str(factorised)!r})).__name__)\n"
        "print(type(AutoConfig.for_model('moe-qwen3')).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "FactorisedXLMRobertaModel",
        "True",
        "FactorisedXLMRobertaForTokenClassification",
        "MoeQwen3Config",
    ]
