"""Recipes with several exits, carried out on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polycompress.distill.exit_heads import exit_head
from polycompress.distill.layer_map import bottom
from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distil import DistilResult, distil
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import TEXTS, make_tiny

HEAD = "languages: {source: en, target: sw}\nstudent: {layers: 4, trim: false}\n"
TINY = (
    "training.device=cpu", "training.precision=fp32", "training.max_length=48", "training.batch_tokens=300",
    "training.log_every=1", "training.learning_rate=3e-3",
)  # fmt: skip
LOADERS = {
    "sib200": transformers.AutoModelForSequenceClassification,
    "ner-wikiann": transformers.AutoModelForTokenClassification,
}


class Kitchen:
    """A tiny teacher of four layers, and tasks."""

    def __init__(self, root: Path) -> None:
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.data = make_pack(root / "data", examples=28)
        for code in ("en", "sw"):
            (root / f"{code}.txt").write_text("\n".join(TEXTS), encoding="utf-8")
        self.corpora = f"corpora=[en={root}/en.txt, sw={root}/sw.txt]"

    def distil(self, stages: str, out: Path, *settings: str, **options: Any) -> DistilResult:
        """A run."""
        path = out.parent / "recipe.yaml"
        path.write_text(HEAD + "stages:\n" + stages, encoding="utf-8")
        torch.manual_seed(0)
        given = [f"teacher={self.teacher}", self.corpora, *TINY, *settings]
        return distil(path, out=out, settings=given, data=self.data, **options)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


@pytest.mark.parametrize("task", sorted(LOADERS))
def test_exits_learn_labels_without_a_teacher(kitchen: Kitchen, tmp_path: Path, task: str) -> None:
    stages = (
        f"  - {{name: exits, task: {task}, teacher: none, steps: 12, losses: [{{name: multi-exit, options: "
        "{exits: [1, 2, 4], divergence_weight: 0.3, cosine_weight: 0.2}}]}\n"
    )
    result = kitchen.distil(stages, tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "stages" / "1-exits" / "metrics.jsonl")
    losses = [record["loss_multi-exit"] for record in records]
    assert min(losses[6:]) < losses[0]
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert manifest["finetuning"]["task"] == task
    assert manifest["stages"][0]["teacher"] is None
    model = LOADERS[task].from_pretrained(result.final).eval()
    read = exit_head(model)
    ids = torch.randint(5, 100, (3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
        for layers in (1, 2):
            write_student(result.final, bottom(4, layers), tmp_path / str(layers), {"command": []})
            cut = LOADERS[task].from_pretrained(tmp_path / str(layers)).eval()
            torch.testing.assert_close(cut(input_ids=ids).logits, read(states[layers]), atol=1e-6, rtol=1e-6)


def test_exits_learn_answers_of_texts_without_labels(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        "  - {name: tuned, kind: tune, task: sib200, steps: 2}\n"
        "  - {name: exits, task: sib200, teacher: tuned, transfer: corpora, steps: 8, losses: [{name: multi-exit, "
        "options: {exits: [2, 4], learns: answers, temperature: 2.0}}]}\n"
    )
    result = kitchen.distil(stages, tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "stages" / "2-exits" / "metrics.jsonl")
    assert min(record["loss_multi-exit"] for record in records[4:]) < records[0]["loss_multi-exit"]
    assert result.manifest is not None
    assert result.manifest["stages"][1]["teacher"] == "tuned"


def faults(kitchen: Kitchen, tmp_path: Path, stages: str) -> str:
    with pytest.raises(InputError) as caught:
        kitchen.distil(stages, tmp_path / "run", dry_run=True)
    return str(caught.value)


def test_faults_all_at_once(kitchen: Kitchen, tmp_path: Path) -> None:
    found = faults(
        kitchen,
        tmp_path,
        "  - {name: a, task: sib200, steps: 1, teacher: none, losses: [{name: multi-exit, options: {exits: [2, 1], "
        "cosine_weight: -1}}]}\n"
        "  - {name: b, task: sib200, steps: 1, losses: [multi-exit]}\n"
        "  - {name: c, task: sib200, steps: 1, losses: [{name: multi-exit, options: {exits: [2, x]}}]}\n"
        "  - {name: d, steps: 1, max_length: 40, losses: [{name: multi-exit, options: {exits: [4]}}]}\n"
        "  - {name: e, task: xquad-squad, steps: 1, losses: [{name: multi-exit, options: {exits: [4]}}]}\n"
        "  - {name: f, task: sib200, steps: 1, transfer: corpora, losses: [{name: multi-exit, options: "
        "{exits: [4]}}]}\n"
        "  - {name: g, task: sib200, steps: 1, losses: [{name: multi-exit, options: {exits: [4]}}], freeze: all}\n",
    )
    for part in (
        "exits is [2, 1]: name each once, going up",
        "cosine_weight is -1.0: give 0 or more",
        "stages[2].losses[1].name: multi-exit: exits is missing",
        "exits is [2, 'x']: give a list of layers",
        "stages[4].losses: multi-exit compares answers of a task's head",
        "multi-exit is for texts and words that are classified, but xquad-squad asks for the ends",
        "stages[6].losses: multi-exit asks for labels, but the texts of transfer have none",
        "stages[7].freeze is nothing",
    ):
        assert part in found, (part, found)


def test_the_last_exit_is_the_model(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = "  - {name: a, task: sib200, steps: 1, losses: [{name: multi-exit, options: {exits: [1, 3]}}]}\n"
    assert "exits end with 3, but the student has 4 layers" in faults(kitchen, tmp_path, stages)
    other = make_tiny("modernbert", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    with pytest.raises(InputError, match=r"of the type 'modernbert', of which it is not known"):
        kitchen.distil(stages.replace("[1, 3]", "[1, 4]"), tmp_path / "run", f"teacher={other}", dry_run=True)


def test_a_teacher_that_nothing_asks(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        "  - {name: a, task: sib200, steps: 1, teacher: teacher, losses: [gold, {name: multi-exit, options: "
        "{exits: [4]}}]}\n"
    )
    assert "teacher is named, but gold and multi-exit asks none" in faults(kitchen, tmp_path, stages)


def test_wrong_input_leaves_nothing_to_remove(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = "  - {name: tuned, steps: 2, losses: [hidden-mse]}\n"
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n\t\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(InputError, match=r"blank\.txt: no text in it"):
            kitchen.distil(stages, tmp_path / "run", f"corpora=[en={blank}, sw={blank}]")
        assert not (tmp_path / "run").exists()
