from __future__ import annotations

import json
import logging
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.evaluation.forward import forward
from polycompress.evaluation.models import load_task_model
from polycompress.evaluation.records import Part
from polycompress.evaluation.tasks import find_task, load_examples
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.finetune import FinetuneResult, finetune
from polycompress.pipelines.tuning.data import encode_part
from polycompress.pipelines.tuning.dev import score_part
from polycompress.pipelines.tuning.summary import summarise
from polycompress.training.errors import ConfigError, SnapshotMismatchError, StoppedError
from polycompress.training.metrics import read_metrics
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, make_pack
from tests.pipelines.tiny_runs import Killed, equal, kill_at, until_done, weights
from tests.tiny_models import TEXTS, make_tiny

SETTINGS: Mapping[str, Any] = {
    "steps": 12, "learning_rate": 3e-3, "batch_texts": 6, "evaluate_every": 3, "patience": 2, "precision": "fp32",
    "device": "cpu", "log_every": 4,
}  # fmt: skip


class Kitchen:
    """A tiny encoder and a tiny data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.encoder = make_tiny("xlm-roberta", "base", root / "encoder", vocab_size=350)
        self.data = make_pack(root / "data", examples=28)
        write_questions(self.data / "xquad" / "xquad.en.json")

    def tune(self, out: Path, **options: Any) -> FinetuneResult:
        """A run."""
        settings = {**SETTINGS, **options.pop("settings", {})}
        given = {"task": "sib200", "train_langs": "en", "data": self.data, "out": out, "settings": settings}
        return finetune(options.pop("model", self.encoder), **{**given, **options})


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def write_questions(path: Path) -> None:
    """Enough paragraphs for every split to have some."""
    paragraphs = []
    for number in range(48):
        words = TEXTS[number % 8].split()
        start = sum(len(word) + 1 for word in words[:2])
        answer = {"text": words[2], "answer_start": start}
        asked = {"id": str(number), "question": f"{words[3]}?", "answers": [answer]}
        paragraphs.append({"context": " ".join(words), "qas": [asked]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}))


def test_topics(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    before = torch.get_rng_state()
    result = kitchen.tune(tmp_path / "run", command=["polycompress", "finetune", "x"])
    assert torch.equal(torch.get_rng_state(), before)
    (final,) = result.finals
    model, info = AutoModelForSequenceClassification.from_pretrained(final, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.id2label == dict(enumerate(CATEGORIES))
    assert model.config.label2id["travel"] == 6
    config = json.loads((final / "config.json").read_text())
    assert config["finetuning_task"] == "sib200"
    assert config["problem_type"] == "single_label_classification"
    assert (final / "tokenizer.json").read_bytes() == (kitchen.encoder / "tokenizer.json").read_bytes()
    assert AutoTokenizer.from_pretrained(final)(TEXTS[0])["input_ids"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "config.json",
        "final",
        "metrics.jsonl",
    ]
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert all(("dev_score" in record) == (record["step"] % 3 == 0) for record in records)
    manifest = read_manifest(final)
    assert manifest is not None
    tuning = manifest["finetuning"]
    assert (tuning["task"], tuning["kind"]) == ("sib200", "text-classification")
    assert tuning["train_languages"] == ["eng-Latn"]
    assert tuning["labels"] == list(CATEGORIES)
    assert tuning["examples"] == {"train": {"eng-Latn": 28}, "dev": {"eng-Latn": 28}}
    assert tuning["dev_score"] == max(record["dev_score"] for record in records if "dev_score" in record)
    assert manifest["command"] == ["polycompress", "finetune", "x"]
    assert "classifier.out_proj.weight" in manifest["fresh_parameters"]
    card = (final / "README.md").read_text()
    assert "fine-tuned on SIB-200 in English" in card
    assert "pipeline_tag: text-classification" in card
    assert "AutoModelForSequenceClassification.from_pretrained" in card
    assert f"After step {tuning['best_step']} of 12" in card
    assert result.as_dict()["seeds"][0]["dev_score"] == tuning["dev_score"]
    assert result.as_dict()["dev"]["seeds"] == 1


@pytest.mark.parametrize(
    ("task", "head"), [("sib200", "sequence"), ("ner-wikiann", "token"), ("xquad", "span")]
)
def test_the_result_is_as_good_as_it_was_measured(
    kitchen: Kitchen, tmp_path: Path, task: str, head: str
) -> None:
    result = kitchen.tune(tmp_path / "run", task=task, settings={"learning_rate": 1e-2, "steps": 30})
    (final,) = result.finals
    spec = find_task(task)
    model = load_task_model(final, spec.kind, spec.labels, device="cpu", precision="fp32")
    tuning = result.manifests[0]["finetuning"]
    if task == "ner-wikiann":  # its development examples were held back
        assert tuning["examples"] == {"train": {"eng-Latn": 26}, "dev": {"eng-Latn": 2}}
        return
    part = Part("eng-Latn")
    examples = load_examples(spec, part, "dev", data=kitchen.data)
    encoded = encode_part(model.encoder, part, examples, None)
    assert score_part(spec, encoded, forward(model, encoded.encoded)) == pytest.approx(
        tuning["dev_score"], abs=1e-9
    )
    losses = [record["loss"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    # Not the last: at this rate it goes up and down, and rounding decides when it ends.
    assert min(losses) < losses[0]


@pytest.mark.parametrize("task", ["sib200", "nli-sick", "ner-wikiann", "xquad"])
def test_killed_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(
    kitchen: Kitchen, tmp_path: Path, task: str
) -> None:
    whole = kitchen.tune(tmp_path / "whole", task=task)
    last = whole.manifests[0]["finetuning"]["steps"]
    moments = random.Random(task).sample(range(1, last + 1), 3)

    broken = tmp_path / "broken"
    often, kill = {"log_every": 1, "snapshot_every": 2}, kill_at(moments)
    result = until_done(
        lambda: kitchen.tune(broken, task=task, resume=broken.exists(), progress=kill, settings=often)
    )
    assert not moments
    assert equal(result.finals[0], whole.finals[0])
    untimed = {"seconds"}
    one, other = (
        {k: v for k, v in r.manifests[0]["finetuning"].items() if k not in untimed} for r in (result, whole)
    )
    assert one == other


def test_a_signal_saves_and_the_run_goes_on(kitchen: Kitchen, tmp_path: Path) -> None:
    whole = kitchen.tune(tmp_path / "whole")

    def send(record: Mapping[str, Any]) -> None:
        if record["step"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError, match=r"stopped by SIGTERM after step 5.*Go on with --resume") as caught:
        kitchen.tune(tmp_path / "run", progress=send)
    assert caught.value.exit_code == 143
    assert equal(kitchen.tune(tmp_path / "run", resume=True).finals[0], whole.finals[0])


def test_it_stops_early_and_takes_the_best_state(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.8, 0.5, 0.8, 0.3, 0.9])
    monkeypatch.setattr(
        "polycompress.pipelines.tuning.dev.score_part", lambda task, part, logits: next(scores)
    )
    result = kitchen.tune(tmp_path / "run", settings={"steps": 60, "patience": 3})
    tuning = result.manifests[0]["finetuning"]
    assert (tuning["steps"], tuning["best_step"], tuning["dev_score"]) == (15, 12, 0.8)
    assert tuning["stopped_early"] is True
    assert "training ended after step 15" in (result.finals[0] / "README.md").read_text()
    scores = iter([0.2, 0.8, 0.5, 0.8])
    short = kitchen.tune(tmp_path / "short", settings={"steps": 60, "patience": 2})
    tuning = short.manifests[0]["finetuning"]
    assert (tuning["steps"], tuning["best_step"]) == (12, 12)
    assert equal(result.finals[0], short.finals[0])


def test_patience_0_goes_to_the_end(kitchen: Kitchen, tmp_path: Path) -> None:
    result = kitchen.tune(tmp_path / "run", settings={"patience": 0, "learning_rate": 1e-9})
    tuning = result.manifests[0]["finetuning"]
    assert tuning["steps"] == 12
    assert tuning["stopped_early"] is False


@pytest.mark.parametrize("freeze", ["none", "embeddings", "embeddings+1"])
def test_what_is_frozen_stays_bit_by_bit(kitchen: Kitchen, tmp_path: Path, freeze: str) -> None:
    result = kitchen.tune(tmp_path / "run", settings={"freeze": freeze, "patience": 0})
    before, after = weights(kitchen.encoder), weights(result.finals[0])
    after = {name.removeprefix("roberta."): tensor for name, tensor in after.items()}
    shared = before.keys() & after.keys()
    same = {name for name in shared if torch.equal(before[name], after[name])}
    frozen = {
        name
        for name in shared
        if (freeze != "none" and name.startswith("embeddings."))
        or (freeze == "embeddings+1" and name.startswith("encoder.layer.0."))
    }
    assert frozen <= same
    assert not {name for name in same - frozen if name.endswith(("query.weight", "output.dense.weight"))}
    count = sum(before[name].numel() for name in frozen)
    assert result.manifests[0]["finetuning"]["frozen_parameters"] == count
    if freeze == "none":
        assert "embeddings.word_embeddings.weight" not in same


def test_several_seeds(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = kitchen.tune(out, seeds=3, settings={"seed": 5})
    assert sorted(path.name for path in out.iterdir()) == ["seed-5", "seed-6", "seed-7", "summary.json"]
    assert [path.parent.name for path in result.finals] == ["seed-5", "seed-6", "seed-7"]
    assert not equal(result.finals[0], result.finals[1])
    assert equal(result.finals[1], kitchen.tune(tmp_path / "alone", settings={"seed": 6}).finals[0])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["kind"] == "fine-tuning"
    assert [each["seed"] for each in summary["seeds"]] == [5, 6, 7]
    scores = [each["dev_score"] for each in summary["seeds"]]
    assert summary["dev"]["mean"] == pytest.approx(sum(scores) / 3)
    assert summary["dev"]["collapsed"] == pytest.approx(
        sum(each["collapsed"] for each in summary["seeds"]) / 3
    )
    assert read_manifest(result.finals[2])["seed"] == 7  # type: ignore[index]


def test_seeds_that_are_finished_are_left_alone(
    kitchen: Kitchen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, seen = tmp_path / "run", []

    def kill(record: Mapping[str, Any]) -> None:
        seen.append(record["step"])
        if len(seen) > 1 and seen[-1] == 4 and seen.count(4) == 2:
            raise Killed

    with pytest.raises(Killed):
        kitchen.tune(out, seeds=2, progress=kill)
    first = (out / "seed-0" / "final" / "model.safetensors").stat()
    assert not (out / "summary.json").exists()
    with pytest.raises(InputError, match=r"already exists. Go on with the runs in it with --resume"):
        kitchen.tune(out, seeds=2)
    result = kitchen.tune(out, seeds=2, resume=True)
    assert (out / "seed-0" / "final" / "model.safetensors").stat().st_mtime_ns == first.st_mtime_ns
    assert (out / "summary.json").is_file()
    again = kitchen.tune(out, seeds=2, resume=True)
    assert "the run is finished; nothing is left to do" in caplog.text
    assert again.as_dict() == result.as_dict()
    more = kitchen.tune(out, seeds=3, resume=True)
    assert len(more.summary["seeds"]) == 3


def test_what_a_kill_in_the_last_moment_left_goes(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.tune(tmp_path / "run")
    (tmp_path / "run" / "snapshots" / "step-3").mkdir(parents=True)
    kitchen.tune(tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "snapshots").exists()


@pytest.mark.parametrize("patience", [0, 2])
def test_a_signal_in_the_last_step_finishes_the_run(kitchen: Kitchen, tmp_path: Path, patience: int) -> None:
    def send(record: Mapping[str, Any]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    result = kitchen.tune(
        tmp_path / "run", progress=send, settings={"steps": 4, "log_every": 1, "patience": patience}
    )
    assert result.manifests[0]["finetuning"]["dev_score"] >= 0


def test_collapsed_seeds_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    figures = {seed: {"dev_score": score} for seed, score in enumerate([0.7, 0.1429, 0.16])}
    summary = summarise(find_task("sib200"), figures)
    assert [each["collapsed"] for each in summary["seeds"]] == [False, True, True]
    assert summary["dev"]["collapsed"] == pytest.approx(2 / 3)
    assert "seed 1, 2 collapsed: its development score is that of guessing (0.143)" in caplog.text


def test_names_that_are_never_found_are_a_collapse_too() -> None:
    summary = summarise(find_task("ner-wikiann"), {0: {"dev_score": 0.0}, 1: {"dev_score": 0.5}})
    assert [each["collapsed"] for each in summary["seeds"]] == [True, False]
    assert summary["chance"] == 0.0


def test_classes_can_be_weighed(kitchen: Kitchen, tmp_path: Path) -> None:
    plain = kitchen.tune(tmp_path / "plain", task="ner-wikiann")
    weighed = kitchen.tune(tmp_path / "weighed", task="ner-wikiann", settings={"class_weights": True})
    assert not equal(plain.finals[0], weighed.finals[0])
    with pytest.raises(InputError, match=r"class_weights is True, but task xquad .* has no classes"):
        kitchen.tune(tmp_path / "run", task="xquad", settings={"class_weights": True})


def test_two_source_languages(kitchen: Kitchen, tmp_path: Path) -> None:
    result = kitchen.tune(tmp_path / "run", train_langs=["en", "de"], limit=6)
    tuning = result.manifests[0]["finetuning"]
    assert tuning["examples"]["train"] == {"eng-Latn": 6, "deu-Latn": 6}
    assert set(tuning["language_tokens"]) == {"eng-Latn", "deu-Latn"}


def test_a_tuned_model_can_be_tuned_further(kitchen: Kitchen, tmp_path: Path) -> None:
    first = kitchen.tune(tmp_path / "first")
    again = kitchen.tune(tmp_path / "again", model=first.finals[0])
    assert again.manifests[0]["fresh_parameters"] == []
    other = kitchen.tune(tmp_path / "other", model=first.finals[0], task="nli-sick")
    assert len(other.manifests[0]["fresh_parameters"]) == 4


def test_segments_reach_a_bert(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("bert", "base", tmp_path / "bert", vocab_size=350)
    result = kitchen.tune(tmp_path / "run", model=model, task="nli-sick")
    after = weights(result.finals[0])["bert.embeddings.token_type_embeddings.weight"]
    before = weights(model)["embeddings.token_type_embeddings.weight"]
    assert not torch.equal(before[1], after[1]), "the second segment was read"


def test_weights_keep_their_type(kitchen: Kitchen, tmp_path: Path) -> None:
    model = make_tiny("xlm-roberta", "base", tmp_path / "m", vocab_size=350, dtype="bfloat16")
    (final,) = kitchen.tune(tmp_path / "run", model=model, settings={"precision": "bf16"}).finals
    assert {tensor.dtype for tensor in weights(final).values()} == {torch.bfloat16}
    assert json.loads((final / "config.json").read_text())["dtype"] == "bfloat16"


def test_another_request_is_refused(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Killed):
        kitchen.tune(out, progress=kill_at([8]))
    with pytest.raises(SnapshotMismatchError) as caught:
        kitchen.tune(out, resume=True, limit=20, settings={"learning_rate": 1e-3})
    message = str(caught.value)
    assert "learning_rate: 0.003 there, 0.001 now" in message
    assert "examples.train.eng-Latn" in message
    assert kitchen.tune(out, resume=True, settings={"log_every": 1}).finals[0].is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sib20"}, r"There is no task 'sib20'\. Did you mean sib200\?"),
        ({"task": "retrieval-tatoeba"}, "is not trained for"),
        ({"train_langs": "fr"}, "Task sib200 has no training examples in fra-Latn"),
        ({"train_langs": "Klingonish"}, "Klingonish"),
        ({"data": Path("/nowhere")}, "/nowhere"),
        ({"settings": {"max_length": 100}}, "max_length is 100, but the model has positions for 70 tokens"),
        ({"settings": {"batch_texts": None, "batch_tokens": 9}}, "batch_tokens is 9, less than the longest"),
        ({"settings": {"freeze": "embeddings+9"}}, "freeze names 9 layers, but the model has 2"),
    ],
)
def test_wrong_requests(kitchen: Kitchen, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        kitchen.tune(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_wrong_settings_before_anything_is_read(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)steps is 0.*seeds is -1"):
        kitchen.tune(tmp_path / "run", task="nothing", seeds=-1, settings={"steps": 0})


def test_directories_that_are_taken(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"already exists. Go on with the run in it with --resume"):
        kitchen.tune(kitchen.encoder)
    with pytest.raises(InputError, match="is or holds the model it is to be made from"):
        kitchen.tune(kitchen.encoder, resume=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"is a file. Give a directory for the runs"):
        kitchen.tune(tmp_path / "file", seeds=2)
    with pytest.raises(InputError, match="so it is no run of several seeds that could be resumed"):
        kitchen.tune(kitchen.encoder, seeds=2, resume=True)


def test_a_head_of_other_labels_is_replaced(kitchen: Kitchen, tmp_path: Path) -> None:
    model = tiny("xlm-roberta", "sequence", tmp_path / "m", ("a", "b", "c"), vocab_size=350)
    result = kitchen.tune(tmp_path / "run", model=model)
    assert len(result.manifests[0]["fresh_parameters"]) == 4
