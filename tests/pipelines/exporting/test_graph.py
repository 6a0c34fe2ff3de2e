"""Graphs of families and heads against their models, on inputs of other sizes than the exporter saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from polycompress.errors import InputError
from polycompress.evaluation.pooling import Pooling
from polycompress.evaluation.pretrained import load_pretrained
from polycompress.pipelines.exporting.graph import Traced, outputs_of, write_graph
from tests.tiny_models import HEADS, make_tiny

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

SIZES = ((1, 1), (1, 2), (3, 7), (2, 60))


def traced(family: str, head: str, folder: Path, pooling: Pooling | None = None) -> Traced:
    path = make_tiny(family, head, folder / f"{family}-{head}")
    model, _ = load_pretrained(getattr(transformers, HEADS[head]), path, torch.float32)
    outputs = outputs_of(type(model).__name__)
    assert outputs is not None
    return Traced(model.eval(), outputs, pooling)


def check(of: Traced, file: Path, *, segments: bool) -> None:
    """The graph takes any batch and length, and gives what the model gives."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert tuple(each.name for each in session.get_outputs()) == of.outputs
    assert [each.shape for each in session.get_inputs()] == [["batch", "length"]] * (2 + segments)
    generator = torch.Generator().manual_seed(0)
    for batch, length in SIZES:
        ids = torch.randint(5, 90, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[1:, length // 2 + 1 :] = 0
        inputs = {"input_ids": ids, "attention_mask": mask}
        if segments:
            inputs["token_type_ids"] = (torch.arange(length) > length // 2).long().expand(batch, -1).clone()
        with torch.inference_mode():
            wanted = of(**inputs)
        found = session.run(None, {name: each.numpy() for name, each in inputs.items()})
        for ours, theirs in zip(wanted, found, strict=True):
            real = mask.bool().numpy() if ours.shape[:2] == mask.shape and ours.ndim > 2 else slice(None)
            np.testing.assert_allclose(theirs[real], ours.numpy()[real], atol=1e-5)


def test_segments_and_pooling(tmp_path: Path) -> None:
    model = traced("bert", "base", tmp_path, Pooling(("mean", "cls"), (None,)))
    assert model.outputs == ("last_hidden_state", "sentence_embedding")
    write_graph(model, tmp_path / "model.onnx", segments=True)
    check(model, tmp_path / "model.onnx", segments=True)
    content = (tmp_path / "model.onnx").read_bytes()
    for word in (b"site-packages", b"polycompress", str(tmp_path).encode()):
        assert word not in content  # where code lies is nobody's business


def test_distilbert_with_a_head(tmp_path: Path) -> None:
    model = traced("distilbert", "sequence", tmp_path)
    write_graph(model, tmp_path / "model.onnx", segments=False)
    check(model, tmp_path / "model.onnx", segments=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("roberta", "sequence"), ("electra", "token"), ("albert", "base"), ("mpnet", "base"), ("deberta-v2", "token"),
        ("modernbert", "mlm"), ("camembert", "token"), ("xlm-roberta-xl", "mlm"), ("rembert", "base"),
    ],
)  # fmt: skip
def test_other_families(family: str, head: str, tmp_path: Path) -> None:
    model = traced(family, head, tmp_path)
    write_graph(model, tmp_path / "model.onnx", segments=False)
    check(model, tmp_path / "model.onnx", segments=False)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("BertModel", ("last_hidden_state",)),
        ("XLMRobertaForQuestionAnswering", ("start_logits", "end_logits")),
        ("FactorisedXLMRobertaForMaskedLM", ("logits",)),
        ("GPT2LMHeadModel", None),
        ("LlamaForCausalLM", None),
        ("BertForPreTraining", None),
        ("", None),
    ],
)
def test_what_classes_give(name: str, outputs: tuple[str, ...] | None) -> None:
    assert outputs_of(name) == outputs


class Fickle(torch.nn.Module):
    """A model that looks at its input's numbers."""

    config = transformers.BertConfig(vocab_size=50)

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(50, 4)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.table

    @property
    def base_model(self) -> Fickle:
        return self

    def forward(self, input_ids: torch.Tensor, **_: object) -> Mapping[str, torch.Tensor]:
        states = self.table(input_ids)
        if float(states.sum()) > 0:
            states = -states
        return {"last_hidden_state": states}


def test_what_the_exporter_cannot_follow(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"torch cannot export a Fickle to ONNX: .{10}"):
        write_graph(
            Traced(Fickle().eval(), ("last_hidden_state",), None), tmp_path / "x.onnx", segments=False
        )
    assert not list(tmp_path.iterdir())
