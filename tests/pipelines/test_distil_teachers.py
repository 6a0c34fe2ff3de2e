"""Recipes with several teachers, and with teachers that cut texts otherwise, carried out on tiny models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distil import DistilResult, distil
from polycompress.pipelines.finetune import finetune
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import TEXTS, make_tiny

HEAD = "languages: {source: en, target: sw}\nstudent: {layers: 2}\n"
TINY = (
    "training.device=cpu", "training.precision=fp32", "training.max_length=48", "training.batch_tokens=300",
    "training.log_every=1", "training.snapshot_every=2", "training.learning_rate=3e-3",
)  # fmt: skip
MIXED = "{name: mixed-hidden, options: {weights: [2, 1]}}"


class Kitchen:
    """A tiny teacher, one of the same tokens and one of others, both tuned on tasks, text and tasks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "mlm", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.twin = make_tiny(
            "xlm-roberta", "mlm", root / "twin", vocab_size=350, num_hidden_layers=3, hidden_size=24, seed=1
        )
        self.alien = make_tiny("bert", "mlm", root / "alien", vocab_size=250, num_hidden_layers=2, seed=2)
        self.data = make_pack(root / "data", examples=28)
        for code in ("en", "sw"):
            lines = [f"{TEXTS[(3 * n) % 16]} {code} {n}" for n in range(30)]
            (root / f"{code}.txt").write_text("\n".join(lines), encoding="utf-8")
        self.corpora = f"corpora=[en={root}/en.txt, sw={root}/sw.txt]"

    def tuned(self, model: Path, task: str) -> Path:
        """A teacher with a task's head."""
        out = self.root / f"{model.name}-{task}"
        if not out.exists():
            settings = {
                "steps": 15,
                "max_length": 48,
                "device": "cpu",
                "precision": "fp32",
                "learning_rate": 3e-3,
            }
            finetune(model, task=task, train_langs="en", out=out, data=self.data, settings=settings)
        return out / "final"

    def distil(self, stages: str, out: Path, *settings: str, **options: Any) -> DistilResult:
        """A run."""
        path = out.parent / "recipe.yaml"
        path.write_text(HEAD + "stages:\n" + stages, encoding="utf-8")
        torch.manual_seed(0)
        given = [f"teacher={self.teacher}", self.corpora, *TINY, *settings]
        return distil(path, out=out, settings=given, data=self.data, **options)

    def faults(self, stages: str, out: Path, *settings: str) -> str:
        """What is wrong."""
        with pytest.raises(InputError) as caught:
            self.distil(stages, out, *settings, dry_run=True)
        return str(caught.value)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def falls(stage: Path, *names: str) -> None:
    """Each objective is lower later on than in the beginning."""
    records = read_metrics(stage / "metrics.jsonl")
    for name in names:
        losses = [record[f"loss_{name}"] for record in records]
        assert min(losses[len(losses) // 2 :]) < losses[0], (name, losses)


def test_two_teachers_of_text(kitchen: Kitchen, tmp_path: Path) -> None:
    """The second one is not trimmed: it is shown its own ids of the same tokens."""
    out = tmp_path / "run"
    stages = f"  - {{name: a, teacher: [teacher, {kitchen.twin}], losses: [{MIXED}, hidden-mse], steps: 8}}\n"
    result = kitchen.distil(stages, out, "student.min_share=2e-3")
    falls(out / "stages" / "1-a", "mixed-hidden", "hidden-mse")
    rows = json.loads((result.final / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    assert rows < transformers.AutoConfig.from_pretrained(kitchen.twin).vocab_size
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert manifest["stages"][0]["teacher"] == f"teacher, {kitchen.twin}"
    found = json.loads((out / "stages" / "1-a" / "config.json").read_text(encoding="utf-8"))["settings"]
    assert len(found["others"]) == 1


def test_teachers_of_text_with_tokens_of_their_own(kitchen: Kitchen, tmp_path: Path) -> None:
    """Alone, compared word by word and by vectors; and beside one that is shown the student's tokens."""
    out, both = tmp_path / "run", f"[teacher, {kitchen.alien}]"
    stages = (
        f"  - {{name: a, teacher: {kitchen.alien}, losses: [hidden-relative, sentence-vectors], steps: 12}}\n"
        f"  - {{name: b, teacher: {both}, losses: [{MIXED}, hidden-mse, attention-mse], steps: 8}}\n"
        f"  - {{name: c, teacher: {both}, losses: [mixed-hidden, divergence], steps: 2}}\n"
    )
    with pytest.raises(InputError, match=r"divergence.*\n?.*masked"):
        kitchen.distil(stages, out, dry_run=True)
    stages = "".join(stages.splitlines(keepends=True)[:2])
    held_out = f"held_out=[sw={kitchen.root}/sw.txt]"
    kitchen.distil(stages, out, "training.masked=false", "student.min_share=2e-3", held_out)
    falls(out / "stages" / "1-a", "hidden-relative", "sentence-vectors")
    falls(out / "stages" / "2-b", "mixed-hidden", "hidden-mse", "attention-mse")
    for stage in ("1-a", "2-b"):
        assert read_metrics(out / "stages" / stage / "metrics.jsonl")[-1]["held_out_loss"] > 0
    for stage, teacher in (("1-a", "teacher"), ("2-b", "teacher 2")):
        manifest = read_manifest(out / "stages" / stage / "final")
        assert manifest is not None
        assert list(manifest["words"]["swh-Latn"]) == ["student", teacher]


def test_a_student_that_is_there_with_tokens_of_its_own(kitchen: Kitchen, tmp_path: Path) -> None:
    settings = (f"student={{directory: {kitchen.alien}}}", "training.masked=false")
    stages = "  - {name: a, losses: [mixed-hidden, hidden-mse], steps: 5}\n"
    result = kitchen.distil(stages, tmp_path / "run", *settings)
    falls(tmp_path / "run" / "stages" / "1-a", "mixed-hidden", "hidden-mse")
    assert (result.final / "tokenizer.json").read_bytes() == (kitchen.alien / "tokenizer.json").read_bytes()


def test_the_first_teacher_s_own_space_is_that_of_its_student(kitchen: Kitchen, tmp_path: Path) -> None:
    """A student of all layers, mixed with a teacher that is its teacher again: nothing to learn."""
    again = tmp_path / "again"
    shutil.copytree(kitchen.teacher, again)
    stages = (
        f"  - {{name: a, teacher: [teacher, {again}], losses: [mixed-hidden, mixed-classes], steps: 1, "
        "learning_rate: 1e-12}\n"
    )
    kitchen.distil(stages, tmp_path / "run", "student.layers=4", "student.trim=false")
    (record,) = read_metrics(tmp_path / "run" / "stages" / "1-a" / "metrics.jsonl")
    assert record["loss_mixed-hidden"] == pytest.approx(0.0, abs=1e-6)
    assert record["loss_mixed-classes"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("task", ["sib200", "nli-sick", "ner-wikiann"])
def test_teachers_of_other_tokens_teach_a_task(kitchen: Kitchen, tmp_path: Path, task: str) -> None:
    alien = kitchen.tuned(kitchen.alien, task)
    stages = (
        f"  - {{name: tuned, kind: tune, task: {task}, steps: 15}}\n"
        f"  - {{name: a, task: {task}, teacher: [tuned, {alien}], steps: 12, losses: [{MIXED}, "
        "{name: mixed-classes, weight: 5, options: {temperature: 2.0}}]}\n"
    )
    result = kitchen.distil(stages, tmp_path / "run", "student.min_share=1e-3")
    falls(tmp_path / "run" / "stages" / "2-a", "mixed-hidden", "mixed-classes")
    assert result.manifest is not None
    assert result.manifest["finetuning"]["task"] == task
    assert not any("projection" in name or "of_student" in name for name in _weights(result.final))


def _weights(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(path / "model.safetensors")
    return found


def test_one_teacher_of_other_tokens_answers_for_texts(kitchen: Kitchen, tmp_path: Path) -> None:
    alien = kitchen.tuned(kitchen.alien, "sib200")
    stages = (
        f"  - {{name: a, task: sib200, teacher: {alien}, steps: 10, losses: [divergence, mixed-hidden]}}\n"
    )
    kitchen.distil(stages, tmp_path / "run")
    falls(tmp_path / "run" / "stages" / "1-a", "divergence", "mixed-hidden")


class Killed(BaseException):
    """The process ends without a chance to save anything."""


def test_a_killed_run_ends_as_a_whole_one(kitchen: Kitchen, tmp_path: Path) -> None:
    """With a projection of the student that is trained along: the second teacher's space is the narrower one."""
    alien = kitchen.tuned(kitchen.alien, "sib200")
    options = "{name: mixed-hidden, options: {width: 12}}"
    stages = (
        f"  - {{name: tuned, kind: tune, task: sib200, steps: 1}}\n"
        f"  - {{name: a, task: sib200, teacher: [tuned, {alien}], steps: 5, losses: [{options}, mixed-classes]}}\n"
    )
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = kitchen.distil(stages, tmp_path / "whole" / "run")

    def progress(record: Mapping[str, Any]) -> None:
        if record["steps"] == 5 and record["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        kitchen.distil(stages, tmp_path / "broken" / "run", progress=progress)
    again = kitchen.distil(stages, tmp_path / "broken" / "run", resume=True)
    assert (again.final / "model.safetensors").read_bytes() == (
        whole.final / "model.safetensors"
    ).read_bytes()
    # Another second teacher is another run.
    (tmp_path / "third").mkdir()
    other = tmp_path / "third" / "model"
    shutil.copytree(alien, other)
    with pytest.raises(InputError, match=r"teacher"):
        kitchen.distil(stages.replace(str(alien), str(other)), tmp_path / "whole" / "run", resume=True)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("teacher: [teacher, @ALIEN], losses: [mixed-hidden], steps: 1", "masked: tokens are masked one by one"),
        (
            "teacher: @ALIEN, losses: [attention-mse, mi-alpha, hidden-mse], steps: 1, masked: false",
            "losses: attention-mse, mi-alpha compares tokens. Word by word, or text by text, there are hidden-mse",
        ),
        (
            "teacher: @ALIEN, losses: [divergence], steps: 1, masked: false",
            "such as OFA adds, has no answers of it to compare",
        ),
        (
            "teacher: [teacher, @ALIEN], losses: [mixed-hidden, mixed-classes], steps: 1, masked: false",
            "losses: mixed-classes compares tokens",
        ),
        (
            "teacher: @ALIEN, losses: [hidden-mse], steps: 1, masked: false, keep: true",
            "alien has a tokenizer of its own: what it says is kept by the student's tokens",
        ),
        ("teacher: [teacher, @TWIN], losses: [hidden-mse], steps: 1", "hidden-mse asks the first one alone"),
        ("teacher: [teacher, teacher], losses: [mixed-hidden], steps: 1", "teacher names 'teacher' twice"),
        ("teacher: [teacher, none], losses: [mixed-hidden], steps: 1", "'none' stands in a list"),
        ("teacher: [], losses: [mixed-hidden], steps: 1", "teacher is []"),
        ("teacher: [teacher, tned], losses: [mixed-hidden], steps: 1", "'tned', which no stage is called"),
        ("teacher: [teacher, @ROOT/nothing], losses: [mixed-hidden], steps: 1", "nothing: no such directory"),
        (
            "teacher: [teacher, @TWIN], steps: 1, losses: [{name: mixed-hidden, options: {weights: [1], layers: [1, 2, "
            "3]}}]",
            "weights has 1 entries for 2 teachers: give one for each; layers has 3 entries",
        ),
        (
            "teacher: [teacher, @TWIN], steps: 1, losses: [{name: mixed-hidden, options: {layers: [4, 4]}}]",
            "has hidden states 0 to 3 (0: embeddings), but 4 is asked for",
        ),
        (
            "teacher: [teacher, @TWIN], steps: 1, losses: [{name: mixed-hidden, options: {weights: [0, 0], width: 0}}]",
            "weights is [0, 0]: one has to be above 0",
        ),
        (
            "teacher: [teacher, @TWIN], steps: 1, losses: [{name: mixed-hidden, options: {width: 17}}]",
            "width is 17, but a teacher has 16 units",
        ),
        ("task: sib200, teacher: [teacher, @ALIEN], losses: [mixed-classes], steps: 1", "alien has no head for task"),
        ("task: ner-wikiann, teacher: @ALIEN, losses: [hidden-mse, mixed-hidden], steps: 1", "hidden-mse compares"),
        ("task: xquad-squad, teacher: @ALIEN, losses: [mixed-hidden], steps: 1", "but mixed-hidden compares tokens"),
        ("task: xquad-squad, teacher: [teacher, @TWIN], losses: [mixed-classes], steps: 1", "asks for the ends of"),
    ],
)  # fmt: skip
def test_what_cannot_be_had(kitchen: Kitchen, tmp_path: Path, stage: str, message: str) -> None:
    for word, path in (("@ALIEN", kitchen.alien), ("@TWIN", kitchen.twin), ("@ROOT", kitchen.root)):
        stage = stage.replace(word, str(path))
    assert message in kitchen.faults(f"  - {{name: a, {stage}}}\n", tmp_path / "run")


def test_a_missing_teacher_hides_no_other_fault(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        "  - {name: a, teacher: /nowhere/at-all, losses: [hidden-mse], steps: 1}\n"
        "  - {name: b, losses: [{name: minilmv2, options: {relation_heads: 5}}], steps: 1}\n"
        f"  - {{name: c, task: sib200, teacher: [teacher, {kitchen.alien}], losses: [mixed-classes], steps: 1}}\n"
    )
    found = kitchen.faults(stages, tmp_path / "run")
    for part in (
        "stages[1].teacher: /nowhere/at-all: no such directory",
        "stages[2].losses: 5 relation heads",
        "stages[3].teacher: ",
        "alien has no head for task sib200",
    ):
        assert part in found, (part, found)


def test_answers_on_text_of_a_second_teacher_over_more_pieces(kitchen: Kitchen, tmp_path: Path) -> None:
    from polycompress.pipelines.trim import trim

    out = tmp_path / "trimmed"
    corpora = [f"{code}={kitchen.root}/{code}.txt" for code in ("en", "sw")]
    trim(kitchen.teacher, langs=["en", "sw"], out=out, corpus=corpora, min_share=2e-3, frequencies=False)
    stages = (
        f"  - {{name: a, teacher: [teacher, {kitchen.twin}], losses: [unequal, mixed-classes], steps: 1}}\n"
    )
    found = kitchen.faults(stages, tmp_path / "run", "student.layers=null", f"student.directory={out}")
    assert (
        f"mixed-classes compares answers over one vocabulary, but the student's is not that of {kitchen.twin}"
        in found
    )
    assert (
        "losses: mixed-classes compares answers over one vocabulary, but the student's is not that of teacher"
        in found
    )


def test_a_student_that_will_be_trimmed_has_fewer_pieces(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        f"  - {{name: a, teacher: {kitchen.twin}, losses: [divergence], steps: 1}}\n"
        f"  - {{name: b, teacher: [teacher, {kitchen.twin}], losses: [mixed-classes, divergence], steps: 1}}\n"
        f"  - {{name: c, teacher: {kitchen.twin}, losses: [unequal, hidden-mse], steps: 1}}\n"
        "  - {name: d, teacher: teacher, losses: [divergence], steps: 1}\n"
    ).replace("losses", "max_length: 40, losses")
    layers = "student.layer_map=[0, 2]"
    found = kitchen.faults(stages, tmp_path / "run", "student.layers=null", layers)
    why = f"over one vocabulary, but the student's is not that of {kitchen.twin}"
    assert f"stages[1].losses: divergence compares answers {why}: take unequal" in found
    assert f"stages[2].losses: mixed-classes compares answers {why}: leave it out" in found
    assert found.count(why) == 2
    assert why not in kitchen.faults(
        stages.replace("hidden-mse", "gold"),
        tmp_path / "run",
        "student.layers=null",
        layers,
        "student.trim=false",
    )


def test_teachers_with_fewer_positions(kitchen: Kitchen, tmp_path: Path) -> None:
    """They would be asked for positions that they do not have, in the middle of training."""
    short, other = (
        make_tiny(kind, "base", tmp_path / kind, vocab_size=size, max_position_embeddings=20)
        for kind, size in (("xlm-roberta", 350), ("bert", 250))
    )
    mixed = "losses: [mixed-hidden], steps: 2"
    stages = (
        f"  - {{name: text, losses: [hidden-mse], steps: 2, teacher: {short}}}\n"
        f"  - {{name: fits, losses: [hidden-mse], steps: 2, teacher: {short}, max_length: 18}}\n"
        f"  - {{name: task, task: sib200, {mixed}, teacher: [teacher, {short}]}}\n"
        f"  - {{name: own, task: sib200, {mixed}, teacher: [teacher, {other}]}}\n"
    )
    found = kitchen.faults(stages, tmp_path / "run")
    at_most = "the teacher, has positions for"
    assert f"stages[1].max_length is 48, but {short}, {at_most} 18 tokens: give at most 18" in found
    assert f"stages[3].max_length is 48, but {short}, {at_most} 18" in found
    assert f"stages[4].max_length is 48, but {other}, {at_most} 20" in found
    assert found.count(at_most) == 3
    (task, own), unset = stages.splitlines(keepends=True)[2:], "training.max_length=null"
    found = kitchen.faults(task, tmp_path / "run", unset)
    room = json.loads((kitchen.teacher / "tokenizer_config.json").read_text())["model_max_length"]
    assert f"stages[1].max_length is {room}, as it is not given, but {short}" in found
    plan = kitchen.distil(own, tmp_path / "run", unset, dry_run=True)
    assert plan.manifest is None, "it cuts for itself"
