"""Training of models with experts, on tiny ones."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.moe.shares import family_shares, reweighted
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_experts import CODES, TEXT, ExpertsKitchen
from tests.pipelines.tiny_runs import equal, kill_at, until_done, weights
from tests.tiny_models import make_tiny

LEARNING: dict[str, Any] = {
    "routing": {"forcing": 0.9, "anneal": True, "supervision": 0.1, "balancing": 0.01},
    "reweigh": {"every": 3},
}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> ExpertsKitchen:
    return ExpertsKitchen(tmp_path_factory.mktemp("kitchen"))


@pytest.fixture(scope="module")
def whole(kitchen: ExpertsKitchen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was not stopped, with everything that there is."""
    out = tmp_path_factory.mktemp("whole") / "run"
    kitchen.train(out, LEARNING, held_out=kitchen.corpus)
    return out


def test_what_is_learnt_and_logged(whole: Path) -> None:
    records = read_metrics(whole / "metrics.jsonl")
    losses = {name for name in records[0] if name.startswith("loss_")}
    assert losses == {
        "loss_hidden-mse", "loss_attention-mse", "loss_router-supervision", "loss_load-balancing",
    }  # fmt: skip
    # Tokenizers trained on the spot differ from process to process, and so does how far it falls: to about a half.
    assert records[-1]["loss_hidden-mse"] < 0.75 * records[0]["loss_hidden-mse"]
    forcing = {record["step"]: record["forcing"] for record in records}
    assert forcing == pytest.approx({step: 0.9 * (1 - (step - 1) / 9) for step in (3, 4, 6, 8, 9)})
    assert all(record["idle_experts"] == 0 for record in records)


def test_shares_follow_what_is_measured(whole: Path) -> None:
    """The first by families' sizes, then by the equation, of ratios that are losses' shares of what they were."""
    records = {record["step"]: record for record in read_metrics(whole / "metrics.jsonl")}
    tokens = {
        json.loads(path.read_text())["language"]: json.loads(path.read_text())["tokens"]
        for path in (whole / "data" / "training").glob("*/meta.json")
    }
    first, second, third = (records[step]["language_shares"] for step in (3, 4, 8))
    sizes = [tokens[code] for code in first]
    wanted = family_shares(torch.tensor(sizes).double().numpy(), [CODES[code] for code in first], 10 / 3)
    assert list(first.values()) == pytest.approx(wanted.tolist())
    assert first["nld-Latn"] < first["swh-Latn"]  # which has a family of its own
    shares = list(first.values())
    for step, later in ((4, second), (8, third)):
        ratios = list(records[step]["language_ratios"].values())
        assert all(0 < ratio < 1 for ratio in ratios)  # all have learnt something
        array, found = (torch.tensor(each).double().numpy() for each in (ratios, shares))
        shares = reweighted(found, array).tolist()
        assert list(later.values()) == pytest.approx(shares)
    assert "language_ratios" not in records[3]


def test_killed_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(
    kitchen: ExpertsKitchen, whole: Path, tmp_path: Path
) -> None:
    moments = [2, 6, 7]
    every = {**TEXT, "training": {**TEXT["training"], "log_every": 1}}
    broken, kill = tmp_path / "broken", kill_at(moments)
    result = until_done(
        lambda: kitchen.train(
            broken,
            {**LEARNING, "text": every},
            held_out=kitchen.corpus,
            resume=broken.exists(),
            progress=kill,
        )
    )
    assert not moments
    assert equal(result.final, whole / "final")
    one, other = (read_metrics(run / "metrics.jsonl")[-1] for run in (broken, whole))
    for name in ("language_shares", "language_ratios", "language_tokens", "held_out_loss", "idle_experts"):
        assert one[name] == other[name]
    with pytest.raises(SnapshotMismatchError, match=r"routing\.anneal: True there, False now"):
        kitchen.train(
            whole,
            {**LEARNING, "routing": {**LEARNING["routing"], "anneal": False}},
            held_out=kitchen.corpus,
            resume=True,
        )


def test_what_a_run_leaves(kitchen: ExpertsKitchen, whole: Path) -> None:
    from transformers import AutoModel

    import polycompress.auto  # noqa: F401

    model, info = AutoModel.from_pretrained(whole / "final", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert model.config.moe == json.loads((kitchen.moe / "config.json").read_text())["moe"]
    before, after = weights(kitchen.moe), weights(whole / "final")
    router = "encoder.layer.1.moe.router.weight"
    assert not torch.equal(after[router], before[f"roberta.{router}"])
    manifest = read_manifest(whole / "final")
    assert manifest is not None
    assert manifest["layers"] == [0, 3]  # of the teacher, as the student was cut out of it
    assert manifest["start"]["name"] == "moe"
    assert manifest["experts"]["moe"]["languages"] == CODES
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert manifest["sizes"]["after"]["parameters"] == parameters
    experts = sum(each.numel() for each in model.encoder.layer[1].moe.experts.parameters())
    assert manifest["sizes"]["after"]["active_parameters"] == parameters - experts // 3
    assert manifest["config"]["text"]["mixing"]["families"] == CODES
    assert manifest["config"]["text"]["batching"]["window"] == 3
    assert manifest["distillation"]["language_shares"].keys() == CODES.keys()
    card = (whole / "final" / "README.md").read_text()
    for part in (
        "# moe, its experts trained",
        "3 experts of language families in layer 1",
        "polycompress moe extract",
    ):
        assert part in card


def test_without_routing_no_language_is_told(kitchen: ExpertsKitchen, tmp_path: Path) -> None:
    text = {**TEXT, "training": {**TEXT["training"], "steps": 2}}
    kitchen.train(tmp_path / "run", {"text": text, "routing": {"routing": "none"}})
    (record,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert record["forcing"] == 0.0
    assert {name for name in record if name.startswith("loss_")} == {"loss_hidden-mse", "loss_attention-mse"}
    assert "language_shares" not in record


def test_decoders_learn_answers_and_are_compared_in_bits(tmp_path: Path) -> None:
    kitchen = ExpertsKitchen(tmp_path, "qwen2", "clm")
    settings = {
        "text": {**TEXT, "masked": False},
        "routing": {"routing": "supervised"},
        "reweigh": {"every": 4},
        "answers_weight": 1.0,
        "hidden_weight": 0.0,
        "attention": "none",
    }
    result = kitchen.train(tmp_path / "run", settings, held_out=kitchen.corpus)
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {name for name in records[0] if name.startswith("loss_")} == {
        "loss_unequal",
        "loss_router-supervision",
    }
    assert records[-1]["loss_unequal"] < records[0]["loss_unequal"]
    ratios = records[-1]["language_ratios"]
    assert ratios.keys() == CODES.keys()
    assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios.values())
    assert result.manifest["distillation"]["kind"] == "causal"
    assert result.manifest["architectures"] == ["MoeQwen2ForCausalLM"]


def test_a_student_with_other_tokens_learns_word_by_word(
    kitchen: ExpertsKitchen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teacher = make_tiny("bert", "base", tmp_path / "teacher", vocab_size=250, num_hidden_layers=2, seed=2)
    text = {**TEXT, "training": {**TEXT["training"], "steps": 2}}
    with caplog.at_level(logging.WARNING):
        settings = {"text": text, "hidden_loss": "relative", "layer_map": (0, 1)}
        result = kitchen.train(tmp_path / "run", settings, teacher=teacher)
    assert "attention, which is between tokens, is left out" in caplog.text
    assert result.manifest["words"].keys() == CODES.keys()
    with pytest.raises(
        ConfigError, match=r"answers_weight is 1\.0, but student and teacher cut texts otherwise"
    ):
        kitchen.train(tmp_path / "other", {"answers_weight": 1.0, "layer_map": (0, 1)}, teacher=teacher)
    with pytest.raises(ConfigError, match=r"layer_map: The layer map names layer 3, but the teacher has the"):
        kitchen.train(tmp_path / "other", teacher=teacher)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        (
            {"languages": ("de", "tr", "sw"), "held_out": ("de",), "settings": {"reweigh": {"every": 5}}},
            [
                "the model's map of families has no Turkish: leave it out (the map has deu-Latn, fra-Latn, nld-Latn, "
                "swh-Latn)",
                "the family Romance has no text, so its experts would learn nothing: give some of fra-Latn with",
                "reweigh.every is set, but there is no held-out text of Turkish: give some with --held-out tur-Latn=",
                "there is no held-out text of Swahili",
            ],
        ),
        ({"model": "teacher"}, ["has no experts (model_type 'xlm-roberta')", "polycompress moe upcycle"]),
        (
            {"model": "teacher", "teacher": "nowhere", "languages": ("de", "xx"), "layer_map": (0,)},
            ["has no experts", "'xx'", "nowhere"],
        ),
        (
            {"settings": {"layer_map": (0, 1, 2), "text": {**TEXT, "max_length": 99}}},
            ["layer_map names 3 layers for a student of 2"],
        ),
        ({"settings": {"text": {**TEXT, "max_length": 99}}}, ["max_length is 99, but"]),
        (
            {"teacher": "headless", "settings": {"answers_weight": 1.0}},
            ["headless has no language model's head"],
        ),
    ],
)
def test_every_fault_is_named_before_anything_is_loaded(
    kitchen: ExpertsKitchen, tmp_path: Path, options: dict[str, Any], messages: list[str]
) -> None:
    if not (kitchen.root / "headless").exists():
        make_tiny("xlm-roberta", "base", kitchen.root / "headless", vocab_size=350, num_hidden_layers=4)
        (kitchen.root / "tr.txt").write_text("bir iki", encoding="utf-8")
    files = {"xx": "de"}
    chosen = options.get("languages", ("de", "nl", "fr", "sw"))
    corpus = [f"{code}={kitchen.root / files.get(code, code)}.txt" for code in chosen]
    held_out = [f"{code}={kitchen.root / code}.txt" for code in options.get("held_out", ())]
    with pytest.raises(InputError) as caught:
        kitchen.train(
            tmp_path / "run",
            options.get("settings", {}),
            model=kitchen.root / options.get("model", "moe"),
            teacher=kitchen.root / options.get("teacher", "teacher"),
            corpus=corpus,
            held_out=held_out,
        )
    for message in messages:
        assert message in str(caught.value)
    assert not (tmp_path / "run").exists()
