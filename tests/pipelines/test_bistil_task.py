"""BiStil's second phase on tiny models, whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.bistil_general import bistil_general
from polycompress.pipelines.bistil_task import TaskResult, bistil_task
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.sft import apply_sft, show_diff
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import Killed, equal, until_done, weights, write_corpora
from tests.tiny_models import make_tiny

TUNING: Mapping[str, Any] = {
    "steps": 8, "learning_rate": 3e-3, "batch_texts": 6, "evaluate_every": 4, "patience": 0, "precision": "fp32",
    "device": "cpu", "log_every": 4, "weight_decay": 0.0,
}  # fmt: skip


class Kitchen:
    """A tiny teacher, its student, and a tiny data directory."""

    def __init__(self, root: Path) -> None:
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.data = make_pack(root / "data", examples=28)
        text = {
            "training": {"steps": 4},
            "batching": {"token_budget": 200},
            "max_length": 48,
            "device": "cpu",
        }
        torch.manual_seed(0)
        self.student = bistil_general(
            self.teacher,
            source="en",
            target="de",
            corpus=write_corpora(root, {"en": 40, "de": 40}),
            out=root / "student",
            settings={"text": text, "shape": {"layers": 2}},
        ).out

    def learn(self, out: Path, **options: Any) -> TaskResult:
        """A run."""
        settings = options.pop("settings", {})
        settings = {**settings, "tuning": {**TUNING, **settings.get("tuning", {})}}
        given = {"task": "sib200", "data": self.data, "out": out, "settings": settings}
        if "task_teacher" not in options:
            given["teacher"] = self.teacher
        return bistil_task(options.pop("student", self.student), **{**given, **options})


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def changed(before: Path, after: Path, prefix: str = "roberta.") -> dict[str, int]:
    """Weights that differ, by tensor of the base."""
    old, new = weights(before), weights(after)
    return {
        name: int((tensor != new[prefix + name]).sum())
        for name, tensor in old.items()
        if prefix + name in new
    }


def test_few_weights_change_and_the_difference_says_which(kitchen: Kitchen, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    result = kitchen.learn(tmp_path / "run", settings={"density": 0.05})
    model, info = AutoModelForSequenceClassification.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"]
    start = kitchen.student / "final"
    base = sum(tensor.numel() for tensor in weights(start).values())
    differing = changed(start, result.final)
    manifest = read_manifest(result.final)
    assert manifest is not None
    chosen = manifest["sparse"]["weights"]
    assert chosen == round(0.05 * manifest["sparse"]["of"])
    assert 0 < sum(differing.values()) <= chosen < base
    assert not any(count for name, count in differing.items() if "LayerNorm" in name), "norms stay"
    card = (result.final / "README.md").read_text()
    assert f"Weights below the head that could change: {chosen:,} of" in card
    assert "Teacher: teacher" in card
    told = show_diff(result.diff)
    assert told["k"] == chosen, "exactly K, zeros among them"
    assert told["task"] == "sib200"
    apply_sft([result.diff], to=start, out=tmp_path / "again")
    assert equal(tmp_path / "again", result.final)
    assert (tmp_path / "run" / "teacher" / "final" / "config.json").is_file()
    assert model.config.num_hidden_layers == 2


def test_a_head_of_another_task_is_replaced_whole(kitchen: Kitchen, tmp_path: Path) -> None:
    """The student and the teacher bring heads of three labels and learn seven; the difference holds the new head."""
    settings = {"teacher_tuning": "sparse", "density": 0.3}
    other = kitchen.learn(tmp_path / "other", task="nli-sick", settings=settings)
    result = kitchen.learn(
        tmp_path / "run",
        student=other.final,
        teacher=tmp_path / "other" / "teacher" / "final",
        settings=settings,
    )
    told = show_diff(result.diff)
    assert told["dense"]["classifier.out_proj.weight"]["shape"][0] == 7
    apply_sft([result.diff], to=other.final, out=tmp_path / "again")
    assert equal(tmp_path / "again", result.final)


def test_one_tensor_that_moves_far_takes_most_of_the_mask(kitchen: Kitchen, tmp_path: Path) -> None:
    result = kitchen.learn(tmp_path / "run", settings={"density": 0.01})
    shares = {
        name: count / tensor.numel()
        for name, tensor in weights(kitchen.student / "final").items()
        for count in [changed(kitchen.student / "final", result.final).get(name, 0)]
    }
    assert max(shares.values()) > 3 * min(share for name, share in shares.items() if "query.weight" in name)


@pytest.mark.parametrize("task", ["nli-sick", "ner-wikiann"])
def test_other_kinds_of_task(kitchen: Kitchen, tmp_path: Path, task: str) -> None:
    result = kitchen.learn(tmp_path / "run", task=task)
    names = {
        key
        for key in read_metrics(tmp_path / "run" / "sparse" / "metrics.jsonl")[-1]
        if key.startswith("loss_")
    }
    assert names == {"loss_hidden-mse", "loss_attention-mse", "loss_divergence"}
    assert result.manifest["finetuning"]["train_languages"] == ["eng-Latn"], "as the student was made"


def test_a_teacher_that_knows_the_task(kitchen: Kitchen, tmp_path: Path) -> None:
    settings = {**TUNING}
    tuned = finetune(
        kitchen.teacher,
        task="sib200",
        train_langs="en",
        data=kitchen.data,
        out=tmp_path / "tuned",
        settings=settings,
    )
    before = weights(tuned.finals[0])
    result = kitchen.learn(tmp_path / "run", task_teacher=tmp_path / "tuned", settings={"gold_weight": 0.5})
    assert not (tmp_path / "run" / "teacher").exists()
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(tuned.finals[0]).items())
    assert result.final.is_dir()


def test_a_teacher_that_is_tuned_sparsely(kitchen: Kitchen, tmp_path: Path) -> None:
    settings = {"teacher_tuning": "sparse", "density": 0.02}
    whole = kitchen.learn(tmp_path / "run", settings=settings)
    teacher = tmp_path / "run" / "teacher"
    told = show_diff(teacher / "task.diff")
    total = sum(changed(kitchen.teacher, teacher / "final").values())
    assert 0 < total <= told["k"]
    apply_sft([teacher / "task.diff"], to=kitchen.teacher, out=tmp_path / "again")
    assert equal(tmp_path / "again", teacher / "final")
    before, diff = weights(whole.final), (teacher / "task.diff").read_bytes()
    (teacher / "task.diff").unlink()  # as if it had been killed just before this was written
    shutil.rmtree(whole.final)
    again = weights(kitchen.learn(tmp_path / "run", settings=settings, resume=True).final)
    assert (teacher / "task.diff").read_bytes() == diff
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())
    own = whole.diff.read_bytes()
    whole.diff.unlink()  # and so with the student's
    again = weights(kitchen.learn(tmp_path / "run", settings=settings, resume=True).final)
    assert whole.diff.read_bytes() == own
    assert all(torch.equal(again[name], tensor) for name, tensor in before.items())


def test_stopped_anywhere_and_taken_up_it_ends_bit_by_bit_the_same(kitchen: Kitchen, tmp_path: Path) -> None:
    often = {"tuning": {"log_every": 1, "snapshot_every": 3}}
    whole = kitchen.learn(tmp_path / "whole", settings=often)
    moments = [2, 7, 11, 18, 22]
    seen = 0

    def kill(record: Mapping[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen in moments:
            moments.remove(seen)
            raise Killed

    broken = tmp_path / "broken"
    result = until_done(lambda: kitchen.learn(broken, settings=often, resume=broken.exists(), progress=kill))
    assert not moments
    assert equal(result.final, whole.final)
    assert result.diff.read_bytes() == whole.diff.read_bytes()
    again = kitchen.learn(broken, settings=often, resume=True)
    assert again.manifest["sparse"] == result.manifest["sparse"]
    with pytest.raises(SnapshotMismatchError, match=r"tuning\.seed: 0 there, 7 now"):
        kitchen.learn(broken, settings={"tuning": {**often["tuning"], "seed": 7}}, resume=True)


def test_no_teacher(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No teacher was given: .*--teacher, .*--task-teacher"):
        kitchen.learn(tmp_path / "run", teacher=None)


def test_a_teacher_without_the_head(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"has no head for task sib200 .*polycompress finetune .* --task sib200"
    ):
        kitchen.learn(tmp_path / "run", task_teacher=kitchen.teacher)
    assert not (tmp_path / "run").exists()


def test_a_teacher_with_fewer_layers_than_the_student_s_own(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"student was made from layers 1, 3 of its teacher, .*, but student has 2 layers: give",
    ):
        kitchen.learn(tmp_path / "run", task_teacher=kitchen.student)


def test_a_teacher_with_another_tokenizer(kitchen: Kitchen, tmp_path: Path) -> None:
    other = make_tiny("bert", "base", tmp_path / "m", vocab_size=350, num_hidden_layers=4)
    with pytest.raises(InputError, match=r"lacks \d+ of the student's \d+ tokens, such as"):
        kitchen.learn(tmp_path / "run", teacher=other)
    assert not (tmp_path / "run").exists()


def test_every_wrong_setting_at_once(kitchen: Kitchen, tmp_path: Path) -> None:
    wrong = {"density": 0.0, "temperature": 0.0, "answer_weight": 0.0, "tuning": {"freeze": "embeddings"}}
    with pytest.raises(ConfigError) as caught:
        kitchen.learn(tmp_path / "run", settings=wrong)
    for part in ("density is 0.0", "temperature is 0.0", "answer_weight and gold_weight", "tuning.freeze"):
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match=r"tuning.weight_decay is 0.01: give 0"):
        kitchen.learn(tmp_path / "run", settings={"tuning": {"weight_decay": 0.01}})
    assert not (tmp_path / "run").exists()


def test_every_fault_at_once_before_anything_is_loaded(kitchen: Kitchen, tmp_path: Path) -> None:
    """Settings, language, tokens, head, attention: one message, however many are wrong."""
    other = make_tiny("mpnet", "base", tmp_path / "m", vocab_size=300, num_hidden_layers=4)
    with pytest.raises(ConfigError) as caught:
        kitchen.learn(tmp_path / "run", task_teacher=other, train_langs="yo", limit=0)
    for part in (
        "limit is 0",
        "Task sib200 has no training examples in yor-Latn",
        "has no head for task sib200",
        "tokens, such as",
    ):
        assert str(caught.value).count(part) == 1, (part, str(caught.value))
    with pytest.raises(ConfigError, match=r"tokens, such as(.|\n)*the teacher \(mpnet\) has attention that"):
        kitchen.learn(tmp_path / "run", teacher=other)
    with pytest.raises(ConfigError, match=r"density is 0.0(.|\n)*There is no task 'sib'(.|\n)*nothing"):
        kitchen.learn(tmp_path / "run", teacher=tmp_path / "nothing", task="sib", settings={"density": 0.0})
    assert not (tmp_path / "run").exists()


def test_a_density_that_norms_do_not_leave(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"density is 1.0: .* without norms there are"):
        kitchen.learn(tmp_path / "run", settings={"density": 1.0})
    assert not (tmp_path / "run").exists()
    assert kitchen.learn(tmp_path / "all", settings={"density": 1.0, "freeze_norms": False}).diff.is_file()
