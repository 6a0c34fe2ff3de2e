"""BiStil's first phase with students that are there already, of the teacher's tokens or others, on tiny models."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.bistil_general import GeneralResult, bistil_general
from polycompress.pipelines.trim import trim
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_runs import equal, kill_at, until_done, weights, write_corpora
from tests.tiny_models import make_tiny

TEXT: Mapping[str, Any] = {
    "training": {
        "steps": 9,
        "log_every": 3,
        "snapshots": {"every_steps": 4},
        "optimiser": {"learning_rate": 3e-3, "weight_decay": 0.0},
    },
    "batching": {"token_budget": 200},
    "max_length": 24,
    "device": "cpu",
}


class Kitchen:
    """A tiny teacher, a student with other tokens, one of its own tokens, and text in two languages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.student = make_tiny("bert", "mlm", root / "student", vocab_size=250, num_hidden_layers=2, seed=2)
        self.corpus = write_corpora(root, {"de": 60, "en": 30})

    def distil(self, out: Path, student: Path, **options: Any) -> GeneralResult:
        """A run."""
        torch.manual_seed(0)
        settings = {"text": TEXT, **options.pop("settings", {})}
        given = {"source": "en", "target": "de", "corpus": self.corpus, "out": out, **options}
        return bistil_general(given.pop("model", self.teacher), student=student, settings=settings, **given)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def test_a_student_with_other_tokens_learns_word_by_word(
    kitchen: Kitchen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import AutoModel

    with caplog.at_level(logging.WARNING):
        result = kitchen.distil(
            tmp_path / "run",
            kitchen.student,
            held_out=kitchen.corpus[0],
            settings={"hidden_loss": "relative", "vector_weight": 2.0},
        )
    assert "attention, which is between tokens, is left out" in caplog.text
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {name for name in records[-1] if name.startswith("loss_")} == {
        "loss_hidden-relative",
        "loss_sentence-vectors",
    }
    for name in ("loss_hidden-relative", "loss_sentence-vectors", "held_out_loss"):
        found = [record[name] for record in records if name in record]
        assert found[-1] < found[0], name
    model, info = AutoModel.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"]
    assert model.config.num_hidden_layers == 2
    tokenizer = (kitchen.student / "tokenizer.json").read_bytes()
    assert (result.final / "tokenizer.json").read_bytes() == tokenizer
    assert not (tmp_path / "run" / "teacher").exists() and not (tmp_path / "run" / "start").exists()
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert manifest["layers"] == [1, 3]
    assert manifest["start"]["name"] == "student"
    assert "word by word" in manifest["start"]["left_out"]
    assert set(manifest["words"]) == {"deu-Latn", "eng-Latn"}
    assert list(manifest["words"]["deu-Latn"]) == ["student", "teacher"]
    assert all(0.3 < share <= 1 for share in manifest["words"]["deu-Latn"].values())
    assert manifest["config"]["text"]["masked"] is False
    card = (result.final / "README.md").read_text()
    assert "It began as **student**, a model that was there already; its tokenizer is not" in card
    assert "falls to pieces" not in card


def test_stopped_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(kitchen: Kitchen, tmp_path: Path) -> None:
    whole = kitchen.distil(tmp_path / "whole", kitchen.student)
    moments = [3, 6]
    every = {**TEXT, "training": {**TEXT["training"], "log_every": 1}}
    broken = tmp_path / "broken"
    kill = kill_at(moments)
    result = until_done(
        lambda: kitchen.distil(
            broken, kitchen.student, settings={"text": every}, resume=broken.exists(), progress=kill
        )
    )
    assert not moments
    assert equal(result.final, whole.final)
    other = make_tiny("bert", "mlm", tmp_path / "other", vocab_size=250, num_hidden_layers=2, seed=3)
    with pytest.raises(SnapshotMismatchError, match=r"student\.model\.safetensors"):
        kitchen.distil(tmp_path / "whole", other, resume=True)


def test_a_copy_of_the_teacher_has_nothing_to_learn(kitchen: Kitchen, tmp_path: Path) -> None:
    """Of equal tokens everything is compared, attention too; and where it was trimmed, at the teacher's ids."""
    settings = {
        "text": {**TEXT, "training": {"steps": 2, "log_every": 1, "optimiser": {"weight_decay": 0.0}}}
    }
    result = kitchen.distil(tmp_path / "run", kitchen.teacher, settings=settings)
    records = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [record["loss"] for record in records] == [0.0, 0.0]
    assert "loss_attention-mse" in records[0]
    assert equal(result.final, kitchen.teacher)
    assert "left_out" not in result.manifest["start"] and "words" not in result.manifest
    small = tmp_path / "small"
    trim(kitchen.teacher, langs="en,de", out=small, corpus=kitchen.corpus, min_share=1e-6, frequencies=False)
    result = kitchen.distil(tmp_path / "again", small, settings=settings)
    table = "embeddings.word_embeddings.weight"
    assert weights(result.final)[table].shape[0] < weights(kitchen.teacher)[table].shape[0]
    assert [record["loss"] for record in read_metrics(tmp_path / "again" / "metrics.jsonl")] == [0.0, 0.0]
    assert result.manifest["kept_ids"] == read_manifest(small)["kept_ids"]  # type: ignore[index]


def test_the_same_pieces_cut_otherwise_are_other_tokens(kitchen: Kitchen, tmp_path: Path) -> None:
    """All of its tokens are the teacher's, but it takes others of them for the same text."""
    student = make_tiny(
        "xlm-roberta", "base", tmp_path / "student", vocab_size=350, num_hidden_layers=4, seed=4
    )
    document = json.loads((student / "tokenizer.json").read_text(encoding="utf-8"))
    for piece in document["model"]["vocab"]:
        if len(piece[0]) > 2:
            piece[1] = -99.0  # never worth taking
    (student / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    result = kitchen.distil(tmp_path / "run", student, settings={"attention": "none"})
    assert "left_out" in result.manifest["start"]
    assert result.manifest["words"]["deu-Latn"]["student"] > 0.5


def test_a_language_s_own_teacher_is_shown_its_own_tokens(kitchen: Kitchen, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from polycompress.pipelines.sft import diff_models

    changed = weights(kitchen.teacher)
    name = "encoder.layer.3.output.dense.weight"
    changed[name] = changed[name] + 0.5
    adapted = make_tiny("xlm-roberta", "base", tmp_path / "adapted", vocab_size=350, num_hidden_layers=4)
    save_file(changed, adapted / "model.safetensors", metadata={"format": "pt"})
    diff_models(kitchen.teacher, adapted, out=tmp_path / "de.diff")
    text = {**TEXT, "training": {**TEXT["training"], "steps": 2}}
    plain = kitchen.distil(tmp_path / "plain", kitchen.student, settings={"text": text})
    other = kitchen.distil(
        tmp_path / "run", kitchen.student, settings={"text": text}, language_sft=f"de={tmp_path / 'de.diff'}"
    )
    assert not equal(plain.final, other.final)


@pytest.mark.parametrize(
    ("student", "settings", "messages"),
    [
        (
            "student",
            {
                "shape": {"layers": 2, "strategy": "bottom", "hidden_size": 8},
                "min_share": 1e-3,
                "text": {**TEXT, "max_length": 99},
            },
            [
                "shape.layers is for a student that is made, but there is one already",
                "shape.strategy is for",
                "shape.hidden_size is for",
                "min_share is for",
                "max_length is 99, but",
            ],
        ),
        (
            "student",
            {"hidden_weight": 0.0, "shape": {"layer_map": [0, 1]}},
            ["hidden_weight and vector_weight are 0, but its tokenizer is not the teacher's"],
        ),
        (
            "student",
            {"shape": {"layer_map": [0, 1, 3], "layers": 3}},
            ["layer_map names 3 layers for a student of 2", "shape.layers is for"],
        ),
        ("missing", {"min_share": 0.5}, ["--student: ", "min_share is for"]),
        (
            "teacher",
            {"relation_heads": 5, "attention": "relations", "text": {**TEXT, "max_length": 71}},
            ["positions for 70 tokens", "5 relation heads do not divide all widths"],
        ),
    ],
)
def test_all_that_does_not_fit_at_once(
    kitchen: Kitchen, tmp_path: Path, student: str, settings: Mapping[str, Any], messages: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        kitchen.distil(tmp_path / "run", kitchen.root / student, settings=settings)
    for message in messages:
        assert message in str(caught.value)
    assert len(caught.value.faults) == len(messages) or student == "teacher"
    assert not (tmp_path / "run").exists()


def test_layers_that_do_not_divide(kitchen: Kitchen, tmp_path: Path) -> None:
    odd = make_tiny("bert", "base", tmp_path / "odd", vocab_size=250, num_hidden_layers=3)
    with pytest.raises(InputError, match="3 layers do not divide the teacher's 4 evenly"):
        kitchen.distil(tmp_path / "run", odd)
