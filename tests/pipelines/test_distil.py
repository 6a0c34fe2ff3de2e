"""Recipes carried out on tiny models, whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distil import DistilResult, distil
from polycompress.training.errors import SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import Killed, equal, weights, write_corpora
from tests.tiny_models import TEXTS, make_tiny

TINY = (
    "student.layers=2", "training.device=cpu", "training.precision=fp32", "training.max_length=48",
    "training.batch_tokens=300", "training.log_every=1", "training.snapshot_every=2",
)  # fmt: skip
STEPS: Mapping[str, tuple[str, ...]] = {
    "ernie-tiny": (
        "stages.general.steps=3", "stages.tuned-teacher.steps=3", "stages.general-enhanced.steps=3",
        "stages.task-adaptive.epochs=null", "stages.task-adaptive.steps=3", "stages.task-specific.epochs=null",
        "stages.task-specific.steps=3",
    ),
    "bilingual-student": (
        "student.layers=2", "stages.general.steps=3", "stages.tuned-teacher.steps=3", "stages.answers.epochs=null",
        "stages.answers.steps=3", "stages.task.steps=3",
    ),
    "well-read-students": (
        "stages.pretraining.steps=3", "stages.tuned-teacher.steps=3", "stages.distillation.epochs=null",
        "stages.distillation.steps=3", "stages.fine-tuning.epochs=null", "stages.fine-tuning.steps=3",
    ),
}  # fmt: skip


class Kitchen:
    """A tiny teacher of four layers, text in two languages, a tiny data directory, and finished runs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.data = make_pack(root / "data", examples=28)
        self.corpora = f"corpora=[{', '.join(write_corpora(root, {'en': 30, 'sw': 30}))}]"
        self._finished: dict[str, DistilResult] = {}

    def distil(self, recipe: str, out: Path, *settings: str, **options: Any) -> DistilResult:
        """A run."""
        torch.manual_seed(0)
        given = [f"teacher={self.teacher}", self.corpora, *TINY, *STEPS.get(recipe, ()), *settings]
        return distil(recipe, out=out, settings=given, data=self.data, **options)

    def finished(self, recipe: str) -> DistilResult:
        """A run that was never disturbed."""
        if recipe not in self._finished:
            self._finished[recipe] = self.distil(recipe, self.root / f"whole-{recipe}")
        return self._finished[recipe]


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def names_of(stage: Path) -> set[str]:
    """Objectives in a stage's log."""
    return {key for key in read_metrics(stage / "metrics.jsonl")[-1] if key.startswith("loss_")}


def test_ernie_tiny(kitchen: Kitchen) -> None:
    from transformers import AutoModelForSequenceClassification

    result = kitchen.finished("ernie-tiny")
    out = result.plan.out
    assert out is not None
    stages = out / "stages"
    assert sorted(path.name for path in stages.iterdir()) == [
        "1-general", "2-tuned-teacher", "3-general-enhanced", "4-task-adaptive", "5-task-specific",
    ]  # fmt: skip
    latent = {"loss_hidden-mse", "loss_attention-mse"}
    for name in ("1-general", "3-general-enhanced", "4-task-adaptive"):
        assert names_of(stages / name) == latent
    assert names_of(stages / "5-task-specific") == latent | {"loss_divergence", "loss_gold"}
    model, info = AutoModelForSequenceClassification.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"]
    assert model.config.num_hidden_layers == 2
    assert equal(result.final, stages / "5-task-specific" / "final")
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert [stage["name"] for stage in manifest["stages"]][1] == "tuned-teacher"
    assert manifest["source"]["name"] == "teacher", "the recipe's teacher, not the stage before"
    assert manifest["finetuning"]["task"] == "sib200"
    assert manifest["layers"] == [1, 3]
    assert manifest["kept_ids"] == read_manifest(out / "teacher")["kept_ids"]  # type: ignore[index]
    assert manifest["sizes"]["before"]["parameters"] > manifest["sizes"]["after"]["parameters"]
    card = (result.final / "README.md").read_text(encoding="utf-8")
    assert "distilled in 5 stages for English and Swahili" in card
    assert "| 4 task-adaptive |" in card
    assert not list(out.rglob("snapshots"))


def test_weights_carry_over_and_heads_do_not_pretend(kitchen: Kitchen) -> None:
    """Each stage begins with the weights of the one before; a head that learnt nothing is not written."""
    out = kitchen.finished("ernie-tiny").plan.out
    assert out is not None
    stages = out / "stages"
    models = [
        out / "start",
        *(stages / name / "final" for name in ("1-general", "3-general-enhanced", "4-task-adaptive")),
    ]
    name = "encoder.layer.0.attention.self.query.weight"
    steps = [weights(path)[name] for path in models]
    for before, after in itertools.pairwise(steps):
        moved = (after - before).abs().max()
        assert 0 < moved < 5e-3, "a few small steps away"
    adapted = json.loads((stages / "4-task-adaptive" / "final" / "config.json").read_text())
    assert adapted["architectures"] == ["XLMRobertaModel"]
    assert not any("classifier" in key for key in weights(stages / "4-task-adaptive" / "final"))
    found = json.loads((stages / "4-task-adaptive" / "config.json").read_text())["settings"]
    tuned = weights(stages / "2-tuned-teacher" / "final")
    assert tuned["roberta.embeddings.word_embeddings.weight"].shape[0] < 350, (
        "the teacher is tuned after it was trimmed"
    )
    assert found["losses"][0]["name"] == "hidden-mse"


def test_bilingual_student(kitchen: Kitchen) -> None:
    result = kitchen.finished("bilingual-student")
    stages = result.plan.out / "stages" if result.plan.out is not None else Path()
    assert names_of(stages / "1-general") == {
        "loss_hidden-relative",
        "loss_attention-mse",
        "loss_sentence-vectors",
    }
    assert names_of(stages / "3-answers") == {"loss_divergence", "loss_hidden-relative"}
    assert names_of(stages / "4-task") == {"loss_divergence", "loss_gold"}
    told = json.loads((stages / "3-answers" / "final" / "polycompress.json").read_text("utf-8"))
    assert set(told["finetuning"]["examples"]["train"]) == {"eng-Latn/transfer", "swh-Latn/transfer"}
    assert json.loads((result.final / "config.json").read_text("utf-8"))["num_hidden_layers"] == 2


def test_well_read_students(kitchen: Kitchen) -> None:
    result = kitchen.finished("well-read-students")
    out = result.plan.out
    assert out is not None
    stages = out / "stages"
    first = json.loads((stages / "1-pretraining" / "final" / "config.json").read_text())
    assert first["architectures"] == ["XLMRobertaForMaskedLM"]
    answered = read_manifest(stages / "3-distillation" / "final")
    assert answered is not None
    assert answered["finetuning"]["examples"]["train"] == {"eng-Latn/transfer": 30, "swh-Latn/transfer": 30}
    assert set(answered["finetuning"]["examples"]["dev"]) == {"eng-Latn"}
    assert names_of(stages / "3-distillation") == {"loss_divergence"}
    last = read_manifest(stages / "4-fine-tuning" / "final")
    assert last is not None
    assert not last["fresh_parameters"], "the head is the one that was distilled"
    assert last["finetuning"]["examples"]["train"] == {"eng-Latn": 28}


@pytest.mark.parametrize("recipe", sorted(STEPS))
def test_killed_between_and_within_stages_it_ends_bit_by_bit_the_same(
    kitchen: Kitchen, tmp_path: Path, recipe: str
) -> None:
    whole = kitchen.finished(recipe)
    stages = len(whole.plan.recipe.stages)
    between = {f"stage {number} of {stages}" for number in (2, stages)}
    within = {2, 6, 9, 3 * stages - 1}
    records = 0

    def tell(what: str, amount: int, total: int | None) -> None:
        for place in list(between):
            if what.startswith(place):
                between.remove(place)
                raise Killed

    def progress(record: Mapping[str, Any]) -> None:
        nonlocal records
        records += 1
        if records in within:
            within.remove(records)
            raise Killed

    broken = tmp_path / "broken"
    for _ in range(8):
        try:
            result = kitchen.distil(recipe, broken, resume=broken.exists(), progress=progress, tell=tell)
            break
        except Killed:
            torch.manual_seed(99)  # another process begins otherwise
    assert not between
    assert not within
    assert equal(result.final, whole.final)
    assert whole.plan.out is not None
    for folder in (whole.plan.out / "stages").iterdir():
        assert equal(folder / "final", broken / "stages" / folder.name / "final"), folder.name


def test_what_is_finished_is_left_alone(kitchen: Kitchen, tmp_path: Path) -> None:
    out = kitchen.finished("ernie-tiny").plan.out
    assert out is not None
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = kitchen.distil("ernie-tiny", out, resume=True)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before
    assert again.as_dict()["stages"][0]["name"] == "general"


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("stages.task-specific.learning_rate=0.5", "stages.5-task-specific.settings.learning_rate"),
        ("stages.general.losses=[hidden-mse]", "stages.1-general.losses"),
        ("student.strategy=bottom", "layers"),
    ],
)
def test_another_recipe_is_another_run(kitchen: Kitchen, setting: str, field: str) -> None:
    out = kitchen.finished("ernie-tiny").plan.out
    assert out is not None
    with pytest.raises(SnapshotMismatchError, match=field):
        kitchen.distil("ernie-tiny", out, setting, resume=True)
    kitchen.distil("ernie-tiny", out, "training.log_every=5", resume=True)  # which decides nothing


def test_a_dry_run_writes_nothing(kitchen: Kitchen, tmp_path: Path) -> None:
    result = kitchen.distil("ernie-tiny", tmp_path / "run", dry_run=True)
    assert not list(tmp_path.iterdir())
    assert result.manifest is None
    assert [stage["teacher"] for stage in result.as_dict()["stages"]] == [
        "teacher", None, "tuned-teacher", "tuned-teacher", "tuned-teacher",
    ]  # fmt: skip


def test_directories_that_cannot_be_used(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run directory was given; name one with --out"):
        distil("ernie-tiny")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "something").write_text("")
    with pytest.raises(InputError, match=r"already exists"):
        kitchen.distil("ernie-tiny", tmp_path / "run")
    with pytest.raises(InputError, match=r"has no config.json"):
        kitchen.distil("ernie-tiny", tmp_path / "run", resume=True)


def recipe_of(stages: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        path = folder / "own.yaml"
        head = "teacher: demo\nlanguages: {source: en, target: sw}\nstudent: {layers: 2}\nstages:\n"
        path.write_text(head + stages, encoding="utf-8")
        return str(path)

    return write


def test_students_and_teachers_that_are_there(kitchen: Kitchen, tmp_path: Path) -> None:
    """A finished student is distilled further, with the tuned teacher as the recipe's own, pairs and words answered."""
    out = kitchen.finished("ernie-tiny").plan.out
    assert out is not None
    write = recipe_of(
        "  - {name: soft, task: sib200, losses: [taid, mi-alpha], steps: 3}\n"
        "  - {name: text, losses: [minilm], steps: 2}\n"
        "  - {name: topics, task: sib200, losses: [dkd], teacher: teacher, steps: 2}\n"
    )
    result = kitchen.distil(
        write(tmp_path), tmp_path / "run", f"teacher={out / 'stages' / '2-tuned-teacher'}", "student.layers=null",
        f"student.directory={out}",
    )  # fmt: skip
    assert not (tmp_path / "run" / "teacher").exists()
    assert not (tmp_path / "run" / "start").exists()
    assert [stage["drops_head"] for stage in result.plan.as_dict()["stages"]] == [False, True, False]
    assert result.plan.models.layer_map.layers == (1, 3), "as it was made"
    assert names_of(tmp_path / "run" / "stages" / "1-soft") == {"loss_taid", "loss_mi-alpha"}


@pytest.mark.parametrize("task", ["nli-sick", "ner-wikiann"])
def test_other_kinds_of_task_are_answered(kitchen: Kitchen, tmp_path: Path, task: str) -> None:
    (tmp_path / "t.txt").write_text("".join(f"{text}\t{text}\n" for text in TEXTS), encoding="utf-8")
    write = recipe_of(
        f"  - {{name: tuned, kind: tune, task: {task}, steps: 2}}\n"
        f"  - {{name: soft, task: {task}, teacher: tuned, transfer: [en={tmp_path}/t.txt], "
        "losses: [divergence], steps: 2}\n"
    )
    result = kitchen.distil(write(tmp_path), tmp_path / "run", "student.trim=false")
    assert result.manifest is not None
    assert result.manifest["finetuning"]["examples"]["train"] == {"eng-Latn/transfer": 16}
    assert not (tmp_path / "run" / "teacher").exists()
