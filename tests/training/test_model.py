from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.training.model import (
    first_position,
    keeps_texts_apart,
    language_model_kind,
    load_language_model,
    longest_text,
    make_table_sparse,
)
from tests.tiny_models import make_tiny


def load(path: Path) -> Any:
    return load_language_model(path, json.loads((path / "config.json").read_text()))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "masked"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "masked"),
        ({"model_type": "bert", "architectures": ["BertForPreTraining"]}, "masked"),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "masked"),
        ({"model_type": "bert", "is_decoder": True}, "causal"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"]}, "causal"),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "causal"),
        ({"model_type": "llama", "architectures": ["LlamaModel"]}, "causal"),
        ({"model_type": "xlm-roberta", "architectures": "no list"}, "masked"),
    ],
)
def test_the_kind_of_a_model(config: dict[str, Any], kind: str) -> None:
    assert language_model_kind(config, Path("m")) == kind


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "mt5", "is_encoder_decoder": True}, r"m: is an encoder-decoder \(mt5\)"),
        ({"model_type": "vit"}, "neither a masked nor a causal language model of the type 'vit'"),
    ],
)
def test_models_that_are_neither(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        language_model_kind(config, Path("m"))


def test_a_model_without_a_head_gets_one_tied_to_its_table(tmp_path: Path) -> None:
    loaded = load(make_tiny("bert", "base", tmp_path / "m"))
    assert loaded.kind == "masked"
    assert {name.split(".")[0] for name in loaded.fresh} == {"cls"}
    assert loaded.unused == ("pooler.dense.bias", "pooler.dense.weight")
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight


def test_a_fresh_head_is_tied_though_the_configuration_says_otherwise(tmp_path: Path) -> None:
    path = make_tiny("llama", "base", tmp_path / "m", tied=False)
    loaded = load(path)
    assert loaded.kind == "causal"
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    assert loaded.model.config.tie_word_embeddings is True


def test_a_head_that_is_there_is_kept(tmp_path: Path) -> None:
    loaded = load(make_tiny("llama", "clm", tmp_path / "m", tied=False))
    assert loaded.fresh == loaded.unused == ()
    assert loaded.model.get_output_embeddings().weight is not loaded.model.get_input_embeddings().weight


def test_weights_are_trained_in_fp32_and_their_own_type_is_remembered(tmp_path: Path) -> None:
    loaded = load(make_tiny("gpt2", "clm", tmp_path / "m", dtype="bfloat16"))
    assert loaded.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_a_checkpoint_that_lacks_a_layer_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = make_tiny("xlm-roberta", "mlm", tmp_path / "m")
    tensors = load_file(path / "model.safetensors")
    gone = [name for name in tensors if "layer.1." in name]
    for name in gone:
        del tensors[name]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=rf"the checkpoint lacks {len(gone)} parameters of the model itself, such as"
    ):
        load(path)


def test_what_transformers_cannot_load(tmp_path: Path) -> None:
    path = make_tiny("bert", "mlm", tmp_path / "m")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "hidden_size": 18, "num_attention_heads": 5}))
    with pytest.raises(InputError, match="m: transformers cannot load this model: "):
        load(path)


def test_positions(tmp_path: Path) -> None:
    bert, roberta = (
        load(make_tiny(family, "mlm", tmp_path / family)).model for family in ("bert", "xlm-roberta")
    )
    bloom = load(make_tiny("bloom", "clm", tmp_path / "bloom")).model
    assert (first_position(bert), first_position(roberta), first_position(bloom)) == (0, 2, 0)
    assert (longest_text(bert), longest_text(roberta), longest_text(bloom)) == (72, 70, None)


@pytest.mark.parametrize(("family", "head"), [("xlm-roberta", "mlm"), ("gemma", "clm"), ("llama", "clm")])
def test_a_sparse_table_computes_the_same(tmp_path: Path, family: str, head: str) -> None:
    model = load(make_tiny(family, head, tmp_path / "m")).model.eval()
    names = list(model.state_dict())
    ids = torch.arange(12).reshape(2, 6) + 5
    before = model(input_ids=ids).logits
    assert make_table_sparse(model)
    assert isinstance(model.get_input_embeddings(), SparseEmbedding)
    assert torch.equal(model(input_ids=ids).logits, before)
    assert list(model.state_dict()) == names


def test_a_table_of_another_kind_stays(tmp_path: Path) -> None:
    model = load(make_tiny("bert", "mlm", tmp_path / "m")).model
    model.get_input_embeddings().max_norm = 1.0
    assert not make_table_sparse(model)
    assert not isinstance(model.get_input_embeddings(), SparseEmbedding)


@pytest.mark.parametrize(
    ("family", "head", "expected"),
    [("bert", "mlm", True), ("xlm-roberta", "mlm", True), ("rembert", "mlm", True), ("llama", "clm", True),
     ("gpt2", "clm", True), ("modernbert", "mlm", True), ("mistral", "clm", True), ("deberta-v2", "mlm", False),
     ("bloom", "clm", False)],
)  # fmt: skip
def test_which_models_can_be_given_packed_rows(
    tmp_path: Path, family: str, head: str, expected: bool
) -> None:
    loaded = load(make_tiny(family, head, tmp_path / "m"))
    assert keeps_texts_apart(loaded.model, loaded.kind) is expected


@pytest.mark.parametrize(
    ("family", "head", "window"),
    [("modernbert", "mlm", {"local_attention": 16}), ("mistral", "clm", {"sliding_window": 9})],
)
def test_the_mask_of_packed_rows_may_not_undo_a_window(
    tmp_path: Path, family: str, head: str, window: dict[str, int]
) -> None:
    loaded = load(make_tiny(family, head, tmp_path / "m", **window))
    assert keeps_texts_apart(loaded.model, loaded.kind)
    assert keeps_texts_apart(loaded.model, loaded.kind, (9,))
    assert not keeps_texts_apart(loaded.model, loaded.kind, (10,))


def test_a_family_that_takes_no_mask_of_packed_rows() -> None:
    from transformers import XLMConfig, XLMWithLMHeadModel

    model = XLMWithLMHeadModel(
        XLMConfig(vocab_size=50, emb_dim=8, n_layers=1, n_heads=2, max_position_embeddings=20)
    )
    assert not keeps_texts_apart(model, "masked")
