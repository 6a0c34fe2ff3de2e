"""Recipes that keep what the teacher says, carried out on tiny models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.pipelines.distil import DistilResult, distil, make_plan
from polycompress.training import keeping
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import Killed, equal, write_corpora
from tests.tiny_models import TEXTS, make_tiny

RECIPE = """teacher: @TEACHER
student: {layers: 2, trim: false}
languages: {source: en, target: sw}
corpora: ['en=@ROOT/en.txt', 'sw=@ROOT/sw.txt']
held_out: ['en=@ROOT/held.txt']
training: {device: cpu, precision: fp32, max_length: 48, batch_tokens: 300, log_every: 1, snapshot_every: 2, seed: 0,
  learning_rate: 1e-3}
stages:
"""
TEXT = "  - {name: kept, losses: [hidden-mse, sentence-vectors], masked: false, steps: 8, @KEEP}\n"
VECTORS = TEXT.replace("hidden-mse, ", "")
TUNED = "  - {name: tuned, kind: tune, task: @TASK, steps: 2}\n"
TASK = TUNED + "  - {name: kept, task: @TASK, teacher: tuned, losses: [@LOSSES], steps: 6, @KEEP}\n"


class Kitchen:
    """A tiny teacher, text and tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.data = make_pack(root / "data", examples=28)
        write_corpora(root, {"en": 12, "sw": 12})
        (root / "held.txt").write_text("\n".join(TEXTS[:4]), encoding="utf-8")

    def recipe(self, stages: str) -> Path:
        """A file."""
        path = self.root / "recipe.yaml"
        text = (RECIPE + stages).replace("@TEACHER", str(self.teacher)).replace("@ROOT", str(self.root))
        path.write_text(text.replace(", @KEEP", ""), encoding="utf-8")
        return path

    def distil(self, stages: str, out: Path, *settings: str, **options: Any) -> DistilResult:
        """A run."""
        torch.manual_seed(0)
        return distil(self.recipe(stages), out=out, settings=settings, data=self.data, **options)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def kept(stages: str, where: str = "true") -> str:
    return stages.replace("@KEEP", f"keep: {where}")


def of_task(task: str, losses: str) -> str:
    return TASK.replace("@TASK", task).replace("@LOSSES", losses)


def records(out: Path) -> list[dict[str, Any]]:
    (stage,) = (out / "stages").glob("*-kept")
    return read_metrics(stage / "metrics.jsonl")


def figures(out: Path, prefix: str) -> torch.Tensor:
    rows = [[value for name, value in record.items() if name.startswith(prefix)] for record in records(out)]
    return torch.tensor([row for row in rows if row], dtype=torch.float64)


@pytest.mark.parametrize(
    ("stages", "tolerance"),
    [
        (TEXT, 2e-3),
        (VECTORS, 1e-5),
        (of_task("sib200", "divergence, taid, gold"), 1e-5),
        (of_task("ner-wikiann", "divergence, hidden-cosine"), 2e-3),
    ],
)
def test_training_with_and_without(kitchen: Kitchen, tmp_path: Path, stages: str, tolerance: float) -> None:
    """Over several epochs the losses are the same: what is in half precision up to that, all else up to fp32's."""
    kitchen.distil(stages, tmp_path / "asked")
    kitchen.distil(kept(stages), tmp_path / "kept")
    asked, read = (figures(tmp_path / name, "loss_") for name in ("asked", "kept"))
    assert len(asked) == len(read) >= 6
    # Losses are differences of numbers of about 1, each of which is rounded where texts of other lengths stand beside.
    torch.testing.assert_close(read, asked, rtol=tolerance, atol=1e-6)
    assert float(asked.abs().max()) > 1e-3
    (stores,) = (tmp_path / "kept" / "stages").glob("*-kept/kept")
    assert list(stores.glob("*/shard-*.safetensors"))
    assert not list((tmp_path / "asked").rglob("shard-*"))


def test_a_later_run_with_the_same_teacher_and_text_never_asks_it(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = kept(TEXT, str(tmp_path / "stores"))
    first = kitchen.distil(stages, tmp_path / "first")
    assert sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "stores").iterdir()) == [
        "hidden-states", "hidden-states", "hidden-states", "sentence-vectors",
    ]  # fmt: skip

    def never(*arguments: Any) -> None:
        raise AssertionError("all is kept")

    monkeypatch.setattr(keeping, "Watched", never)
    again = kitchen.distil(stages, tmp_path / "again")
    assert equal(first.final, again.final)
    assert torch.equal(figures(first.final.parent, "held_out"), figures(again.final.parent, "held_out"))
    kitchen.distil(
        stages, tmp_path / "others", "student.strategy=bottom", "stages.kept.losses=[sentence-vectors]"
    )
    with pytest.raises(AssertionError, match="all is kept"):
        kitchen.distil(stages, tmp_path / "more", "student.strategy=bottom")


@pytest.mark.parametrize("stages", [TEXT, of_task("sib200", "divergence, hidden-mse")])
def test_killed_it_ends_bit_by_bit_the_same(
    kitchen: Kitchen, tmp_path: Path, stages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TOKENS_AT_ONCE", 200)
    whole = kitchen.distil(kept(stages), tmp_path / "whole")
    deaths = {"the teacher, once for all epochs", 3, 6}
    died = []

    def tell(what: str, amount: int, total: int | None) -> None:
        if what in deaths and amount > 5:
            deaths.remove(what)
            died.append(what)
            raise Killed

    def progress(record: Mapping[str, Any]) -> None:
        if record["step"] in deaths and record["steps"] > 2:
            deaths.remove(record["step"])
            died.append(record["step"])
            raise Killed

    broken = tmp_path / "broken"
    for _ in range(5):
        try:
            result = kitchen.distil(
                kept(stages), broken, resume=broken.exists(), tell=tell, progress=progress
            )
            break
        except Killed:
            torch.manual_seed(99)
    assert len(died) == 3
    assert equal(result.final, whole.final)


def test_it_is_another_run(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.distil(kept(VECTORS), tmp_path / "run", "stages.kept.steps=1")
    with pytest.raises(SnapshotMismatchError, match="kept"):
        kitchen.distil(VECTORS, tmp_path / "run", "stages.kept.steps=1", resume=True)
    elsewhere = kept(VECTORS, str(tmp_path / "elsewhere"))
    kitchen.distil(elsewhere, tmp_path / "run", "stages.kept.steps=1", resume=True)  # which decides nothing


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("losses: [hidden-mse], steps: 2, keep: true", "keep is given, but other tokens are masked each time"),
        ("losses: [hidden-mse], steps: 2, masked: false, keep: 3", "keep is '3': give true, to keep what the"),
        ("losses: [hidden-mse], steps: 2, masked: false, keep: @FILE", "is a file: give a directory"),
        ("losses: [hidden-mse], steps: 2, masked: false, keep: @FILE/below", "en.txt is a file: give a directory"),
        ("losses: [hidden-mse], steps: 2, masked: false, keep: ~nobodyhere/x", "~nobodyhere/x' is no path (Could"),
        ("losses: [hidden-mse], steps: 2, masked: false, keep: @LONG", "is no path (File name too long)"),
        ('losses: [hidden-mse], steps: 2, masked: false, keep: "a\\0b"', "is no path (it holds a zero byte)"),
        ("losses: [attention-mse, minilm], steps: 2, masked: false, keep: true", "attention-mse, minilm asks for the"),
        ("losses: [minilmv2], steps: 2, masked: false, keep: true", "queries, keys or values, which are not kept"),
        ("kind: mlm, steps: 2, keep: true", "keep is given, but there is no teacher in this stage"),
        ("task: sib200, losses: [gold], steps: 2, keep: true", "keep is given, but there is no teacher in this stage"),
    ],
)  # fmt: skip
def test_faults(kitchen: Kitchen, stage: str, message: str) -> None:
    stage = stage.replace("@FILE", str(kitchen.root / "en.txt")).replace("@LONG", "x" * 5000)
    if "minilmv2" in stage:
        stage = stage.replace("[minilmv2]", "[{name: minilmv2, options: {relation_heads: 2}}]")
    with pytest.raises(ConfigError) as caught:
        make_plan(kitchen.recipe(f"  - {{name: kept, {stage}}}\n"), (), kitchen.data)
    assert len(caught.value.faults) == 1, caught.value.faults
    assert message in caught.value.faults[0]
    assert caught.value.faults[0].startswith("line 9: stages[1].keep")


def test_several_teachers_and_teachers_with_other_tokens(kitchen: Kitchen) -> None:
    other = make_tiny("bert", "sequence", kitchen.root / "other", vocab_size=300, num_hidden_layers=4)
    stages = (
        "  - {name: a, task: sib200, losses: [mixed-hidden], steps: 2, keep: true, teacher: [teacher, @OTHER]}\n"
        "  - {name: kept, task: sib200, losses: [mixed-hidden], steps: 2, keep: true, teacher: @OTHER}\n"
    ).replace("@OTHER", str(other))
    with pytest.raises(ConfigError) as caught:
        make_plan(kitchen.recipe(stages), (), kitchen.data)
    faults = [fault for fault in caught.value.faults if "keep" in fault]
    assert any(
        "line 9: stages[1].keep is given, but what several teachers say is not kept" in fault
        for fault in faults
    )
    assert any(
        "stages[2].keep is given, but" in fault and "a tokenizer of its own" in fault for fault in faults
    )


def test_faults_at_once_and_none_where_nothing_is_kept(kitchen: Kitchen) -> None:
    stages = (
        f"  - {{name: kept, losses: [minilm], steps: 0, keep: {kitchen.root / 'en.txt'}}}\n"
        "  - {name: mlm, kind: mlm, steps: 1, keep: true}\n"
    )
    with pytest.raises(ConfigError) as caught:
        make_plan(kitchen.recipe(stages), (), kitchen.data)
    faults = caught.value.faults
    for part in ("steps is 0", "is a file", "minilm asks for", "there is no teacher in this stage"):
        assert sum(part in fault for fault in faults) == 1, (part, faults)
    plan = make_plan(
        kitchen.recipe("  - {name: kept, losses: [minilm], steps: 2, keep: false}\n"), (), kitchen.data
    )
    assert plan.recipe.stages[0].keep is False


def test_vectors_of_parallel_sentences_are_shared_by_runs(kitchen: Kitchen, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{text}\t{text} sw\n" for text in TEXTS), encoding="utf-8")
    stages = f"  - {{name: kept, pairs: 'en-sw={pairs}', steps: 1, keep: {tmp_path / 'stores'}}}\n"
    for name in ("one", "two"):
        kitchen.distil(stages, tmp_path / name)
        assert not list((tmp_path / name).rglob("shard-*"))
    assert len(list((tmp_path / "stores").glob("sentence-vectors-*/shard-*"))) == 1
