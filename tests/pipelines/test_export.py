"""Exported directories from end to end: what is in them, who takes them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polycompress.errors import CertificateError, InputError
from polycompress.evaluation.models import load_task_model
from polycompress.evaluation.onnx_session import open_graph
from polycompress.modeldir.exported import graph_bytes, graph_files, is_exported
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines import export as export_module
from polycompress.pipelines.bench import bench
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.export import ExportResult, export_onnx
from polycompress.pipelines.exporting import quantising
from polycompress.pipelines.exporting.graph import Traced, write_graph
from polycompress.pipelines.exporting.scores import TaskRequest
from polycompress.pipelines.factorise import factorise_model
from polycompress.pipelines.judging.bench_models import check_graphs, find_bench_models
from polycompress.pipelines.judging.settings import EvaluationSettings
from tests.command_line import tree
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import make_pack
from tests.tampering import edit, put, variant
from tests.tiny_models import TEXTS, make_tiny

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
PROCESSOR = Path("/proc/cpuinfo")
HAS_VNNI = PROCESSOR.is_file() and "vnni" in PROCESSOR.read_text(encoding="utf-8")
PLAIN = EvaluationSettings(precision="fp32", device="cpu", max_length=64)


class Kitchen:
    """A tagger, its graphs, and data."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = make_pack(root / "data")
        (root / "text.txt").write_text("\n".join(TEXTS), encoding="utf-8")
        self.tagger = tiny("xlm-roberta", "token", root / "tagger", TAGS)
        self.task = TaskRequest(task="ner-wikiann", langs="en,sw", data=self.data)
        self.fp32 = self.export(self.tagger, "fp32", command=["polycompress", "export", "tagger", "--onnx"])
        self.int8 = self.export(self.tagger, "int8", int8=True, task=self.task)

    def export(self, model: Path, name: str, **options: Any) -> ExportResult:
        return export_onnx(model, out=self.root / name, text=[self.root / "text.txt"], **options)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def test_what_lies_in_the_directory(kitchen: Kitchen) -> None:
    assert tree(kitchen.fp32.out) == [
        "README.md", "config.json", "model.onnx", "polycompress.json", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    assert tree(kitchen.int8.out) == tree(kitchen.fp32.out)
    assert not [name for name in kitchen.root.iterdir() if name.name.startswith(".")]
    assert is_exported(kitchen.fp32.out) and not is_exported(kitchen.tagger)
    for name in ("tokenizer.json", "config.json"):
        ours, theirs = ((each / name).read_text() for each in (kitchen.fp32.out, kitchen.tagger))
        assert json.loads(ours) == json.loads(theirs)


def test_the_record(kitchen: Kitchen) -> None:
    manifest = read_manifest(kitchen.fp32.out) or {}
    export = manifest["export"]
    assert export["inputs"] == ["input_ids", "attention_mask"]
    assert export["outputs"] == ["logits"]
    assert export["fp32"] == kitchen.fp32.fp32.as_dict()
    assert export["fp32"]["equal_predictions"] == 1.0
    assert export["fp32"]["texts"] == len(TEXTS) + 1
    assert export["int8"] is export["quantised"] is export["scores"] is None
    assert set(export["versions"]) >= {"torch", "onnx", "onnxruntime"}
    assert manifest["source"]["files"].keys() == {"config.json", "tokenizer.json", "model.safetensors"}
    assert manifest["sizes"]["after"]["bytes"] == (kitchen.fp32.out / "model.onnx").stat().st_size
    assert json.loads(json.dumps(kitchen.fp32.as_dict()))["quantised"] is None
    card = (kitchen.fp32.out / "README.md").read_text(encoding="utf-8")
    assert "| the graph in fp32 |" in card and "eight bits" not in card
    assert "pipeline_tag: token-classification" in card


def test_eight_bits(kitchen: Kitchen) -> None:
    done = kitchen.int8.quantised
    assert done is not None and kitchen.int8.int8 is not None
    assert (done.matrices, done.tables, done.bits) == (13, 3, 8)  # six of each layer and the head's
    assert done.left == 4  # two of each layer's attention
    assert done.bytes_after == (kitchen.int8.out / "model.onnx").stat().st_size
    assert done.bytes_before == (kitchen.fp32.out / "model.onnx").stat().st_size
    graph = onnx.load(kitchen.int8.out / "model.onnx").graph
    wide = [
        each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) > 1
    ]
    assert not [each.name for each in wide if np.prod(each.dims) > 64]
    assert kitchen.int8.fp32.passed
    assert kitchen.int8.int8.largest_difference > 0
    card = (kitchen.int8.out / "README.md").read_text(encoding="utf-8")
    for part in ("13 matrices to 8 bits and 3 tables to 8", "| the graph in eight bits |", "--reduce-range"):
        assert part in card, part


def test_what_is_quantised_answers_nearly_as_before(kitchen: Kitchen) -> None:
    """In seven bits on any processor; in eight on those that add products in more than sixteen bits."""
    seven = kitchen.export(kitchen.tagger, "seven", int8=True, reduce_range=True)
    for done in (seven, kitchen.int8) if HAS_VNNI else (seven,):
        assert done.int8 is not None
        assert 0 < done.int8.largest_difference < 0.1 * done.int8.largest_output


def test_scores_before_and_after(kitchen: Kitchen) -> None:
    scores = kitchen.int8.scores
    assert scores is not None
    assert [(part["language"], part["examples"]) for part in scores["parts"]] == [
        ("eng-Latn", 14),
        ("swh-Latn", 14),
    ]
    source = evaluate(kitchen.tagger, task="ner-wikiann", langs="en,sw", data=kitchen.data, settings=PLAIN)
    assert [part["before"] for part in scores["parts"]] == [row["score"] for row in source["scores"]]
    assert "## Scores before and after" in (kitchen.int8.out / "README.md").read_text(encoding="utf-8")


def test_eval_takes_a_graph_as_it_takes_a_model(kitchen: Kitchen) -> None:
    found, wanted = (
        evaluate(each, task="ner-wikiann", langs="en", data=kitchen.data, settings=PLAIN)
        for each in (kitchen.fp32.out, kitchen.tagger)
    )
    for name in ("score", "outcomes"):
        assert found["scores"][0][name] == wanted["scores"][0][name]
    assert found["model"]["parameters"]["total"] == wanted["model"]["parameters"]["total"]
    assert found["model"]["bytes"] == (kitchen.fp32.out / "model.onnx").stat().st_size
    assert found["settings"]["max_length"] == wanted["settings"]["max_length"]
    assert found["identity"]["model"] != wanted["identity"]["model"]
    for options, message in (
        ({"settings": EvaluationSettings(precision="bf16")}, "in its own precision, not on auto in bf16"),
        ({"teacher": kitchen.tagger}, "an exported graph gives no hidden states, which loyalty compares"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            evaluate(kitchen.fp32.out, task="ner-wikiann", langs="en", data=kitchen.data, **options)
    with pytest.raises(InputError, match="has no head for text-classification"):
        evaluate(kitchen.fp32.out, task="sib200", langs="en", data=kitchen.data, settings=PLAIN)
    with pytest.raises(InputError, match=r"gives logits, but last_hidden_state is needed.*--body"):
        evaluate(kitchen.fp32.out, task="retrieval-tatoeba", langs="de", data=kitchen.data, settings=PLAIN)


def test_bench_takes_graphs_beside_models(kitchen: Kitchen) -> None:
    found = bench(
        [kitchen.tagger, kitchen.int8.out], batches=(2,), lengths=(8,), rounds=1, device="cpu"
    ).as_dict()
    json.dumps(found, allow_nan=False)
    model, graph = found["models"]
    assert [each["engine"] for each in (model, graph)] == ["torch", "onnxruntime"]
    assert found["settings"]["precisions"] == ("fp32",)
    assert graph["parameters"] == model["parameters"]
    assert graph["bytes"]["weights"] == (kitchen.int8.out / "model.onnx").stat().st_size
    assert all(each["p50_ms"] > 0 for each in graph["timings"])
    ours, theirs = (each["loading"]["fp32"] for each in (graph, model))
    assert 0 < ours["libraries_seconds"] < theirs["libraries_seconds"]  # no torch in it
    assert ours["tokenizer_seconds"] > 0


def test_what_bench_cannot_do_with_graphs(kitchen: Kitchen) -> None:
    both = find_bench_models([kitchen.tagger, kitchen.fp32.out])
    check_graphs(both, precisions=["fp32"], device="cpu", body=False)
    check_graphs(both[:1], precisions=["bf16"], device="cuda", body=True)
    with pytest.raises(InputError) as caught:
        check_graphs(both, precisions=["fp32", "bf16"], device="cuda", body=True)
    for part in ("fp32 is an exported graph", "--precision fp32", "--device cpu", "export it with --body"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"is an exported graph.*a graph's head cannot be left out"):
        bench([kitchen.fp32.out], body=True, device="cpu")
    with pytest.raises(InputError, match=r"batch 1, length 500: onnxruntime cannot run the graph"):
        bench([kitchen.fp32.out], batches=(1,), lengths=(500,), rounds=1, device="cpu")


def test_a_factorised_model_needs_nothing_of_ours_any_more(kitchen: Kitchen, tmp_path: Path) -> None:
    source = make_tiny("xlm-roberta", "mlm", tmp_path / "plain", vocab_size=350)
    factorise_model(source, rank=5, out=tmp_path / "f", command=["polycompress", "factorise"])
    found = kitchen.export(tmp_path / "f", "factorised")
    config = json.loads((found.out / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("xlm-roberta", ["XLMRobertaForMaskedLM"])
    shapes = {tuple(each.dims) for each in onnx.load(found.out / "model.onnx").graph.initializer}
    tokens = config["vocab_size"]
    assert {(tokens, 5), (5, 16)} <= shapes  # both factors
    assert not {(tokens, 16), (16, tokens)} & shapes  # and nowhere their product
    assert found.fp32.passed and found.fp32.equal_predictions == 1.0


def test_bodies_of_models_with_heads(kitchen: Kitchen) -> None:
    found = kitchen.export(kitchen.tagger, "body", body=True)
    assert found.outputs == ("last_hidden_state",)
    assert found.fp32.least_cosine == pytest.approx(1)
    assert json.loads((found.out / "config.json").read_text())["architectures"] == ["XLMRobertaModel"]
    with torch.inference_mode():
        ours, theirs = (
            load_task_model(each, "retrieval", device="cpu").model(
                input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3, dtype=torch.long)
            ).last_hidden_state
            for each in (found.out, kitchen.tagger)
        )  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_graph_that_differs_is_not_written(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(traced: Traced, file: Path, *, segments: bool) -> None:
        write_graph(traced, file, segments=segments)
        model = onnx.load(file)
        weight = max(model.graph.initializer, key=lambda each: len(each.raw_data))
        weight.raw_data = weight.raw_data[::-1]
        onnx.save(model, file)

    monkeypatch.setattr(export_module, "write_graph", damaged)
    with pytest.raises(
        CertificateError, match="The graph does not give what the model does: outputs of up to"
    ):
        export_onnx(kitchen.tagger, out=tmp_path / "above" / "out", text=[kitchen.root / "text.txt"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("family", "head", "message"),
    [
        ("gpt2", "clm", r"config\.json: a GPT2LMHeadModel is not exported: known are .* Give --body"),
        ("t5", "s2s", r"T5ForConditionalGeneration is an encoder-decoder, which runs a step for each token"),
        ("bert", "pretraining", "a BertForPreTraining is not exported"),
    ],
)
def test_models_that_are_no_encoders(family: str, head: str, message: str, tmp_path: Path) -> None:
    make_tiny(family, head, tmp_path / "m")
    with pytest.raises(InputError, match=message):
        export_onnx(tmp_path / "m", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_else_is_refused_before_any_work(kitchen: Kitchen, tmp_path: Path) -> None:
    experts = variant(kitchen.tagger, tmp_path / "e", edit("config.json", model_type="moe-xlm-roberta"))
    headless = make_tiny("xlm-roberta", "base", tmp_path / "h")
    edit("config.json", architectures=["XLMRobertaForTokenClassification"])(headless)
    for model, options, message in (
        (experts, {}, r"the model has experts.*polycompress moe extract .*/e --family NAME --out DIR"),
        (kitchen.fp32.out, {}, r"is exported already: it holds model\.onnx and no weights"),
        (headless, {}, r"the checkpoint lacks 2 parameters, such as classifier\.bias.*give --body"),
        (
            kitchen.tagger,
            {"task": TaskRequest(task="sib200", data=kitchen.data)},
            "has no head for text-class",
        ),
        (kitchen.tagger, {"text": [tmp_path / "none.txt"]}, r"none\.txt"),
        (tmp_path / "none", {}, "no such directory"),
    ):
        with pytest.raises(InputError, match=message):
            export_onnx(model, out=tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="already exists"):
        export_onnx(kitchen.tagger, out=tmp_path / "out")
    with pytest.raises(InputError, match="is or holds the model"):
        export_onnx(kitchen.tagger, out=kitchen.tagger, overwrite=True)


@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"no protobuf at all" * 9])
def test_damaged_graphs(content: bytes, kitchen: Kitchen, tmp_path: Path) -> None:
    bad = variant(kitchen.fp32.out, tmp_path / "bad", put("model.onnx", content))
    message = r"bad/model\.onnx: (onnxruntime cannot load the graph|the graph takes nothing)"
    with pytest.raises(InputError, match=message):
        evaluate(bad, task="ner-wikiann", langs="en", data=kitchen.data, settings=PLAIN)
    with pytest.raises(InputError, match=r"bad/model\.onnx"):
        bench([bad], batches=(1,), lengths=(8,), rounds=1, device="cpu")


def outside(model: Path, location: str, folder: Path) -> Path:
    """A graph with its weights in a file of this name."""
    shutil.copytree(model, folder)
    graph = onnx.load(folder / "model.onnx")
    for each in graph.graph.initializer:
        if len(each.raw_data) > 1000:
            onnx.external_data_helper.set_external_data(each, location, offset=0, length=len(each.raw_data))
            each.ClearField("raw_data")
            each.data_location = onnx.TensorProto.EXTERNAL
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    return folder


def test_weights_that_lie_elsewhere_are_not_read(kitchen: Kitchen, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 16))
    for number, location in enumerate(("../secret", str(secret))):
        bad = outside(kitchen.fp32.out, location, tmp_path / str(number))
        with pytest.raises(InputError, match=r"model\.onnx: onnxruntime cannot load the graph"):
            open_graph(bad)
    linked = outside(kitchen.fp32.out, "model.onnx.data", tmp_path / "linked")
    (linked / "model.onnx.data").symlink_to(secret)
    with pytest.raises(InputError, match=r"model\.onnx\.data: is a link that leaves the model directory"):
        open_graph(linked)
    (linked / "model.onnx.data").unlink()
    (linked / "model.onnx.data").write_bytes(secret.read_bytes())
    assert graph_files(linked) == ("model.onnx", "model.onnx.data")
    assert open_graph(linked).outputs == ("logits",)


def test_large_graphs_have_their_weights_beside_them(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantising, "_EXTERNAL_FROM", 0)
    source = shutil.copytree(kitchen.fp32.out, tmp_path / "source") / "model.onnx"
    done = quantising.quantise(source, tmp_path / "model.onnx")
    assert graph_files(tmp_path) == ("model.onnx", "model.onnx.data")
    assert done.bytes_after == graph_bytes(tmp_path) < done.bytes_before
    assert len({(tmp_path / name).stat().st_mode for name in graph_files(tmp_path)}) == 1
    assert open_graph(tmp_path).outputs == ("logits",)


def test_hostile_directories(kitchen: Kitchen, tmp_path: Path) -> None:
    linked = Path(shutil.copytree(kitchen.fp32.out, tmp_path / "linked"))
    (linked / "model.onnx").unlink()
    (linked / "model.onnx").symlink_to(kitchen.fp32.out / "model.onnx")
    with pytest.raises(InputError, match=r"model\.onnx: is a link that leaves the model directory"):
        bench([linked], batches=(1,), lengths=(8,), rounds=1, device="cpu")
    sizeless = variant(kitchen.fp32.out, tmp_path / "sizeless", edit("config.json", vocab_size="9"))
    with pytest.raises(InputError, match=r"config\.json: 'vocab_size' is '9', no number of tokens"):
        bench([sizeless], batches=(1,), lengths=(8,), rounds=1, device="cpu")
    stated = '{"schema": 1, "export": {"parameters": {"total": true}}}'
    unstated = variant(kitchen.fp32.out, tmp_path / "u", put("polycompress.json", stated))
    found = bench([unstated], batches=(1,), lengths=(8,), rounds=1, device="cpu")
    assert found.models[0]["parameters"] == {"total": None, "embedding": None, "active": None}
