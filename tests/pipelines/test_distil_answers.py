"""Recipes whose stages compare what language models answer on text, carried out on tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distil import DistilResult, distil
from polycompress.pipelines.trim import trim
from polycompress.training.metrics import read_metrics
from tests.tiny_models import TEXTS, make_tiny

HEAD = "languages: {source: en, target: sw}\n"
TINY = (
    "training.device=cpu", "training.precision=fp32", "training.max_length=48", "training.batch_tokens=300",
    "training.log_every=1", "training.snapshot_every=2", "training.learning_rate=3e-3",
)  # fmt: skip


class Kitchen:
    """A masked and a causal tiny teacher of four layers, and text in two languages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.masked = make_tiny("xlm-roberta", "mlm", root / "masked", vocab_size=350, num_hidden_layers=4)
        self.causal = make_tiny("gpt2", "clm", root / "causal", vocab_size=350, n_layer=4)
        for code, texts in (("en", TEXTS[2:4]), ("sw", TEXTS[14:15])):
            lines = [f"{text} {text[n : n + 9]}" for n in range(12) for text in texts]
            (root / f"{code}.txt").write_text("\n".join(lines), encoding="utf-8")
        self.corpora = f"corpora=[en={root}/en.txt, sw={root}/sw.txt]"
        self.held_out = f"held_out=[en={root}/en.txt]"

    def distil(self, stages: str, out: Path, *settings: str, teacher: Path, **options: Any) -> DistilResult:
        """A run."""
        path = out.parent / "recipe.yaml"
        path.write_text(HEAD + "stages:\n" + stages, encoding="utf-8")
        torch.manual_seed(0)
        given = [f"teacher={teacher}", self.corpora, *TINY, *settings]
        return distil(path, out=out, settings=given, **options)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def losses_of(stage: Path, name: str) -> list[float]:
    return [record[f"loss_{name}"] for record in read_metrics(stage / "metrics.jsonl")]


@pytest.mark.parametrize("name", ["divergence", "dkd", "taid", "unequal"])
def test_masked_tokens_are_answered_for(kitchen: Kitchen, tmp_path: Path, name: str) -> None:
    out = tmp_path / "run"
    stages = f"  - {{name: a, losses: [{name}], steps: 8, mask_rate: 0.4}}\n"
    result = kitchen.distil(stages, out, kitchen.held_out, "student.layers=2", teacher=kitchen.masked)
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight, "tied as it was"
    losses = losses_of(out / "stages" / "1-a", name)
    assert min(losses[4:]) < losses[0]
    manifest = read_manifest(result.final)
    assert manifest is not None
    assert manifest["architectures"] == ["XLMRobertaForMaskedLM"]
    assert manifest["distillation"]["held_out_loss"] > 0
    card = (result.final / "README.md").read_text(encoding="utf-8")
    assert "AutoModelForMaskedLM" in card and "fill-mask" in card
    assert result.plan.as_dict()["stages"][0]["drops_head"] is False


def test_causal_models_answer_for_every_token(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = "  - {name: a, losses: [divergence, dkd, hidden-mse], steps: 6, masked: false}\n"
    result = kitchen.distil(stages, tmp_path / "run", "student.layers=2", teacher=kitchen.causal)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(result.final, output_loading_info=True)
    assert not info["missing_keys"] and model.config.n_layer == 2
    for name in ("divergence", "dkd", "hidden-mse"):
        losses = losses_of(tmp_path / "run" / "stages" / "1-a", name)
        assert min(losses[3:]) < losses[0], name
    assert "AutoModelForCausalLM" in (result.final / "README.md").read_text(encoding="utf-8")


def test_the_likeliest_answers_are_kept(kitchen: Kitchen, tmp_path: Path) -> None:
    """With all of the vocabulary the same losses; with few of it another teacher, of whom little room is taken."""
    stage = "  - {{name: a, losses: [divergence, hidden-mse], steps: 4, masked: false{}}}\n"

    def losses(name: str, more: str) -> torch.Tensor:
        out = tmp_path / name
        kitchen.distil(stage.format(more), out, "student.layers=2", teacher=kitchen.causal)
        return torch.tensor(losses_of(out / "stages" / "1-a", "divergence"), dtype=torch.float64)

    asked = losses("asked", "")
    classes = json.loads((kitchen.causal / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    torch.testing.assert_close(
        losses("whole", f", keep: true, keep_top: {classes}"), asked, rtol=1e-3, atol=1e-5
    )
    few = losses("few", ", keep: true, keep_top: 8")
    assert few.isfinite().all() and not torch.allclose(few, asked, rtol=1e-3)
    stores = [
        sum(
            file.stat().st_size
            for file in (tmp_path / name / "stages" / "1-a" / "kept").rglob("top-k-*/shard-*")
        )
        for name in ("whole", "few")
    ]
    assert 0 < stores[1] < stores[0] / 10


def test_answers_that_cannot_be_kept(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        "  - {name: a, losses: [divergence], steps: 1, masked: false, keep: true}\n"
        "  - {name: b, losses: [divergence], steps: 1, masked: false, keep: true, keep_top: 100000}\n"
        "  - {name: c, losses: [divergence], steps: 1, masked: false, keep_top: 8}\n"
        "  - {name: d, losses: [divergence], steps: 1, masked: false, keep: true, keep_top: 0}\n"
        "  - {name: e, losses: [hidden-mse], steps: 1, masked: false, keep: true, keep_top: 8}\n"
    )
    with pytest.raises(InputError) as caught:
        kitchen.distil(stages, tmp_path / "run", "student.layers=2", teacher=kitchen.causal)
    for part in (
        "stages[1].keep: divergence asks for answers over a vocabulary at each token, of which",
        "stages[2].keep_top is 100000, but the teacher answers with one of",
        "stages[3].keep_top is given, but no answers over a vocabulary are kept",
        "stages[4].keep_top is 0: give a whole number of at least 1",
        "stages[5].keep_top is given, but no objective asks for answers over a vocabulary",
    ):
        assert str(caught.value).count(part) == 1, (part, str(caught.value))
    assert not (tmp_path / "run").exists()


def test_a_student_that_is_its_teacher_has_nothing_to_learn(kitchen: Kitchen, tmp_path: Path) -> None:
    """All layers kept: the same answers, so a loss of 0 as long as it does not move."""
    stages = "  - {name: a, losses: [divergence], steps: 1, learning_rate: 1e-12}\n"
    kitchen.distil(stages, tmp_path / "run", "student.layers=4", teacher=kitchen.masked)
    assert losses_of(tmp_path / "run" / "stages" / "1-a", "divergence")[0] == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def trimmed(kitchen: Kitchen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The masked teacher, cut to two languages: a student with fewer pieces."""
    out = tmp_path_factory.mktemp("trimmed") / "model"
    corpora = [f"{code}={kitchen.root}/{code}.txt" for code in ("en", "sw")]
    trim(kitchen.masked, langs=["en", "sw"], out=out, corpus=corpora, min_share=1e-3, frequencies=False)
    return out


def test_a_trimmed_student_of_a_whole_teacher(kitchen: Kitchen, tmp_path: Path, trimmed: Path) -> None:
    out = tmp_path / "run"
    stages = "  - {name: a, losses: [unequal, hidden-mse], steps: 3, learning_rate: 1e-12}\n"
    result = kitchen.distil(
        stages, out, f"student.directory={trimmed}", kitchen.held_out, teacher=kitchen.masked
    )
    model = transformers.AutoModelForMaskedLM.from_pretrained(result.final)
    rows = model.get_input_embeddings().num_embeddings
    assert rows < transformers.AutoConfig.from_pretrained(kitchen.masked).vocab_size
    assert model.lm_head.decoder.out_features == rows
    records = read_metrics(out / "stages" / "1-a" / "metrics.jsonl")
    # The student is the teacher with fewer rows: what it says of shared pieces, renormalised, is what it heard.
    assert all(record["loss_unequal"] == pytest.approx(0.0, abs=1e-6) for record in records)
    assert all(record["loss_hidden-mse"] == pytest.approx(0.0, abs=1e-9) for record in records)
    assert all(0.01 < record["lost_mass_teacher"] < 1 for record in records)
    manifest = read_manifest(result.final)
    assert manifest is not None
    lost = [record["lost_mass_teacher"] for record in records]
    assert manifest["distillation"]["lost_mass_teacher"] == pytest.approx(sum(lost) / 3)


class Killed(BaseException):
    """The process ends without a chance to save anything."""


def test_a_killed_run_ends_as_a_whole_one(kitchen: Kitchen, tmp_path: Path, trimmed: Path) -> None:
    stages = "  - {name: a, losses: [unequal], steps: 6}\n"
    given = (f"student.directory={trimmed}",)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = kitchen.distil(stages, tmp_path / "whole" / "run", *given, teacher=kitchen.masked)

    def progress(record: Mapping[str, Any]) -> None:
        if record["step"] == 5:
            raise Killed

    broken = tmp_path / "broken" / "run"
    with pytest.raises(Killed):
        kitchen.distil(stages, broken, *given, teacher=kitchen.masked, progress=progress)
    again = kitchen.distil(stages, broken, *given, teacher=kitchen.masked, resume=True)
    assert (again.final / "model.safetensors").read_bytes() == (
        whole.final / "model.safetensors"
    ).read_bytes()
    found = [read_manifest(each.final)["distillation"] for each in (whole, again)]  # type: ignore[index]
    assert found[0]["lost_mass_teacher"] == pytest.approx(found[1]["lost_mass_teacher"], rel=1e-9)


def test_an_adaptive_schedule_goes_on_where_it_was(kitchen: Kitchen, tmp_path: Path) -> None:
    """TAID's t, its momentum and its last loss come back: killed between two snapshots, the weights are the same."""
    stages = "  - {name: a, losses: [{name: taid, options: {t_start: 0.1, alpha: 0.5}}], steps: 7}\n"

    def final(name: str, *steps: int) -> bytes:
        out, left = tmp_path / name, list(steps)

        def progress(record: Mapping[str, Any]) -> None:
            if record["step"] in left:
                left.remove(record["step"])
                raise Killed

        for _ in range(len(steps)):
            with pytest.raises(Killed):
                kitchen.distil(
                    stages,
                    out,
                    "student.layers=2",
                    teacher=kitchen.masked,
                    progress=progress,
                    resume=out.exists(),
                )
        result = kitchen.distil(
            stages, out, "student.layers=2", teacher=kitchen.masked, resume=bool(steps), progress=progress
        )
        return (result.final / "model.safetensors").read_bytes()

    assert final("broken", 3, 6) == final("whole")


def test_one_vocabulary_or_unequal(kitchen: Kitchen, tmp_path: Path, trimmed: Path) -> None:
    stages = "  - {name: a, losses: [divergence, taid], steps: 1}\n"
    with pytest.raises(
        InputError, match=r"line 3: .*divergence, taid compares .* one vocabulary.*take unequal"
    ):
        kitchen.distil(
            stages, tmp_path / "run", f"student.directory={trimmed}", teacher=kitchen.masked, dry_run=True
        )
    with pytest.raises(InputError, match=r"lacks \d+ of the student's .*such as OFA adds, has no answers"):
        stages = stages.replace("divergence, taid", "unequal")
        kitchen.distil(
            stages, tmp_path / "run", f"student.directory={kitchen.masked}", teacher=trimmed, dry_run=True
        )


def test_tokens_alike_but_texts_cut_otherwise(kitchen: Kitchen, tmp_path: Path, trimmed: Path) -> None:
    """The same pieces with other scores: the student's cuts are not the teacher's."""
    import shutil

    other = tmp_path / "other"
    shutil.copytree(trimmed, other)
    document = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = document["model"]["vocab"]
    document["model"]["vocab"] = [
        [piece, -1.0 if len(piece) < 2 else score - 30.0] for piece, score in vocab[:4] + vocab[4:]
    ]
    (other / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    stages = "  - {name: a, losses: [unequal], steps: 1}\n"
    with pytest.raises(InputError, match=r"cut .* into other tokens .* though both have all of them"):
        kitchen.distil(stages, tmp_path / "run", f"student.directory={other}", teacher=kitchen.masked)


def test_a_head_after_pretraining_and_none_after_hidden_states(kitchen: Kitchen, tmp_path: Path) -> None:
    stages = (
        "  - {name: general, losses: [hidden-mse], steps: 1}\n"
        "  - {name: pretraining, kind: mlm, steps: 1}\n"
        "  - {name: answers, losses: [divergence], steps: 1}\n"
    )
    plan = kitchen.distil(
        stages, tmp_path / "run", "student.layers=2", teacher=kitchen.masked, dry_run=True
    ).plan
    assert [stage["drops_head"] for stage in plan.as_dict()["stages"]] == [False, False, False]
    without = stages.replace("  - {name: pretraining, kind: mlm, steps: 1}\n", "")
    with pytest.raises(InputError, match=r"stage general leaves the student without the head"):
        kitchen.distil(without, tmp_path / "run", "student.layers=2", teacher=kitchen.masked, dry_run=True)
