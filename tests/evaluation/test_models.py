from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from polycompress.errors import InputError
from polycompress.evaluation.forward import forward
from polycompress.evaluation.models import load_task_model
from polycompress.evaluation.precision import choose_device, choose_precision, cpu_multiplies_bf16
from tests.evaluation.tiny_task_models import LABELS, TAGS, edit_config, tiny


@pytest.mark.parametrize("family", ["xlm-roberta", "bert", "distilbert", "gpt2"])
def test_a_classifier(family: str, tmp_path: Path) -> None:
    model = load_task_model(tiny(family, "sequence", tmp_path / "m"), "pair-classification", LABELS)
    assert model.labels == LABELS
    assert model.columns is None
    assert model.precision == ("bf16" if cpu_multiplies_bf16() else "fp32")
    assert not model.model.training
    assert model.model.dtype == torch.float32
    assert model.encoder.max_length == 64  # of tokenizer_config.json


def test_labels_in_another_order_and_case(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m", ("CONTRADICTION", "Entailment", "neutral"))
    assert load_task_model(path, "pair-classification", LABELS).columns == (1, 2, 0)


@pytest.mark.parametrize(
    "labels", [("a", "b", "c"), ("entailment", "neutral"), ("neutral", "Neutral", "entailment")]
)
def test_other_labels(labels: tuple[str, ...], tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m", labels)
    wanted = (
        f"m/config.json: the head's labels .id2label. are {', '.join(labels)}, but the task's are entailment, neutral, "
        r"contradiction\. Make one with: polycompress finetune .*m --task xnli"
    )
    with pytest.raises(InputError, match=wanted):
        load_task_model(path, "pair-classification", LABELS)


@pytest.mark.parametrize(
    ("head", "kind", "message"),
    [
        (
            "mlm",
            "pair-classification",
            r"BertForMaskedLM, which has no head for pair-classification .*--task xnli",
        ),
        ("sequence", "token-classification", r"no head for token-classification .*--task ner-wikiann"),
        ("token", "question-answering", r"no head for question-answering .*--task xquad"),
    ],
)
def test_another_head(head: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_task_model(tiny("bert", head, tmp_path / "m"), kind, LABELS)  # type: ignore[arg-type]


def test_the_task_is_named_where_it_is_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"polycompress finetune .*m --task nli-sick --train-langs en"):
        load_task_model(tiny("bert", "mlm", tmp_path / "m"), "pair-classification", LABELS, task="nli-sick")


def test_a_head_without_weights(tmp_path: Path) -> None:
    path = tiny("bert", "base", tmp_path / "m")
    edit_config(path, architectures=["BertForTokenClassification"], id2label=dict(enumerate(TAGS)))
    with pytest.raises(
        InputError, match=r"the checkpoint lacks \d+ parameters, such as .*classifier.*finetune"
    ):
        load_task_model(path, "token-classification", TAGS)


def test_no_class_is_named(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    edit_config(path, architectures=None)
    with pytest.raises(InputError, match="the model is of no named class"):
        load_task_model(path, "pair-classification", LABELS)


def test_an_unknown_model_type(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    edit_config(path, model_type="no-such-type")
    with pytest.raises(InputError, match="m: transformers cannot load this model"):
        load_task_model(path, "pair-classification", LABELS)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin but no model\.safetensors.*convert"):
        load_task_model(path, "pair-classification", LABELS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"id2label": {"0": "a"}},
            "config.json says other sizes, or another number of labels, than the weights",
        ),
        ({"max_position_embeddings": "x"}, "max_position_embeddings"),
        ({"num_attention_heads": 0}, "by zero"),
        ({"pad_token_id": 10**6}, "[Pp]adding_idx"),
    ],
)
def test_a_configuration_that_is_wrong(fields: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tiny("xlm-roberta", "sequence", tmp_path / "m")
    edit_config(path, **fields)
    with pytest.raises(InputError, match=f"m: transformers cannot load this model: (.|\n)*{message}"):
        load_task_model(path, "pair-classification", LABELS)


def test_no_tokenizer(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    (path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        load_task_model(path, "pair-classification", LABELS)


@pytest.mark.parametrize(("family", "limit"), [("bert", 72), ("xlm-roberta", 70), ("gpt2", 72)])
def test_more_tokens_than_positions(family: str, limit: int, tmp_path: Path) -> None:
    path = tiny(family, "sequence", tmp_path / "m")
    assert load_task_model(path, "text-classification", LABELS, max_length=limit).encoder.max_length == limit
    with pytest.raises(
        InputError, match=f"max_length is {limit + 1}, but the model has positions for {limit} tokens"
    ):
        load_task_model(path, "text-classification", LABELS, max_length=limit + 1)


def test_a_decoder_without_padding_reads_the_last_token_of_any_text(tmp_path: Path) -> None:
    path = tiny("gpt2", "sequence", tmp_path / "m")
    edit_config(path, pad_token_id=None)
    edit_config(path, "tokenizer_config.json", pad_token=None)
    model = load_task_model(path, "text-classification", LABELS, device="cpu", precision="fp32")
    (encoded,) = model.encoder.encode_strings(["a text"])
    encoded.ids[-1] = 0  # an ordinary token, as in GPT-2's own vocabulary
    with torch.no_grad():
        wanted = transformers.AutoModelForSequenceClassification.from_pretrained(path)(
            torch.tensor(encoded.ids[None].astype("int64"))
        )
    np.testing.assert_allclose(forward(model, [encoded])[0], wanted.logits[0].numpy(), atol=1e-5)


def test_loading_leaves_the_generator_alone(tmp_path: Path) -> None:
    path = tiny("bert", "mlm", tmp_path / "m")  # no pooler: it is made at random
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_task_model(path, "retrieval")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_encoder_is_not_embedded_with(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny("bert", "base", tmp_path / "m")
    tensors = load_file(path / "model.safetensors")
    lost = next(name for name in tensors if "attention.self.query.weight" in name)
    del tensors[lost]
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"the checkpoint lacks 1 parameters, such as .*query.weight\. Restore it"
    ):
        load_task_model(path, "retrieval")


def test_segments_only_where_the_tokenizer_is_not_told_otherwise(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    pair = load_task_model(path, "pair-classification", LABELS).encoder._encode_inputs([("a", "b")])
    assert pair[0].type_ids is not None
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(
        json.dumps({**settings, "model_input_names": ["input_ids", "attention_mask"]})
    )
    pair = load_task_model(path, "pair-classification", LABELS).encoder._encode_inputs([("a", "b")])
    assert pair[0].type_ids is None


def test_devices_and_precisions() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_precision("fp32") == "fp32"
    assert choose_precision("bf16") == "bf16"
    with pytest.raises(InputError, match="device is 'tpus'"):
        choose_device("tpus")
    with pytest.raises(InputError, match="precision is 'fp64': give auto, fp32 or bf16"):
        choose_precision("fp64")  # type: ignore[arg-type]
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device is 'cuda', but torch finds no GPU here"):
            choose_device("cuda")
