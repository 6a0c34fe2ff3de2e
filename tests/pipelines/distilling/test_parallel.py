"""Parallel sentences: recipes carried out on tiny models, whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polycompress.corpora import parse_pairs
from polycompress.errors import InputError
from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.forward import embed
from polycompress.evaluation.models import load_task_model
from polycompress.languages import find_language
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distil import DistilResult, distil, make_plan
from polycompress.pipelines.distilling import parallel_run, teacher_vectors
from polycompress.pipelines.distilling.parallel_run import VectorInputs, read_parallel
from polycompress.pipelines.distilling.teacher_vectors import hash_of_teacher, keep_vectors, vector_store
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.batches import collate
from polycompress.training.errors import ConfigError, SnapshotMismatchError
from polycompress.training.metrics import read_metrics
from tests.pipelines.tiny_runs import Killed, equal, kill_at, weights
from tests.tiny_models import TEXTS, make_tiny

RECIPE = """teacher: @TEACHER
student: {layers: 2, trim: false}
languages: {source: en, target: sw}
training: {device: cpu, precision: fp32, max_length: 48, batch_tokens: 600, log_every: 1, snapshot_every: 2, seed: 0}
stages:
  - @STAGE
"""
STAGE = "{name: pairs, pairs: ['en-sw=@PAIRS'], steps: 6, learning_rate: 1e-2, warmup_steps: 0}"


class Kitchen:
    """A tiny model, a sentence-embedding model of another family and width, and pairs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.teacher = make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
        self.other = make_tiny("bert", "base", root / "other", vocab_size=300, hidden_size=24)
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
        (self.other / "modules.json").write_text(json.dumps(modules))
        (self.other / "1_Pooling").mkdir()
        (self.other / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
        self.sentences = [f"{TEXTS[(3 * n) % 16]} {n}" for n in range(20)]
        self.pairs = root / "pairs.tsv"
        lines = [f"{text}\t{text.upper()} sw" for text in self.sentences]
        self.pairs.write_text("eng\tswh\n" + "\n".join(lines), encoding="utf-8")

    def recipe(self, stage: str = STAGE, name: str = "recipe") -> Path:
        """A file."""
        path = self.root / f"{name}.yaml"
        text = RECIPE.replace("@STAGE", stage.replace("@PAIRS", str(self.pairs)))
        path.write_text(text.replace("@TEACHER", str(self.teacher)).replace("@OTHER", str(self.other)))
        return path

    def distil(self, out: Path, stage: str = STAGE, **options: Any) -> DistilResult:
        """A run."""
        torch.manual_seed(0)
        return distil(self.recipe(stage), out=out, **options)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


@pytest.fixture(scope="module")
def finished(kitchen: Kitchen) -> DistilResult:
    return kitchen.distil(kitchen.root / "whole")


def losses(out: Path) -> list[float]:
    found = read_metrics(out / "stages" / "1-pairs" / "metrics.jsonl")
    return [record["loss_sentence-vectors"] for record in found]


def vectors_of(model: Path, texts: list[str]) -> np.ndarray:
    return embed(load_task_model(model, "retrieval", device="cpu", precision="fp32"), texts)


def test_a_student_learns_where_the_teacher_puts_the_source(kitchen: Kitchen, finished: DistilResult) -> None:
    out = finished.plan.out
    assert out is not None
    assert len(losses(out)) == 6
    assert min(losses(out)[3:]) < 0.8 * losses(out)[0]
    translations = [f"{text.upper()} sw" for text in kitchen.sentences]
    targets = vectors_of(kitchen.teacher, kitchen.sentences)
    for texts in (kitchen.sentences, translations):
        before, after = (
            np.square(vectors_of(path, texts) - targets).mean() for path in (out / "start", finished.final)
        )
        assert after < 0.8 * before
    manifest = read_manifest(out / "stages" / "1-pairs" / "final")
    assert manifest is not None
    assert manifest["pairs"] == {"eng-Latn-swh-Latn": 20}
    assert manifest["sentences"] == 40
    card = (finished.final / "README.md").read_text(encoding="utf-8")
    assert "| 1 pairs | the student learns of a teacher | parallel | teacher |" in card


def test_each_sentence_comes_with_the_vector_of_its_source(kitchen: Kitchen, tmp_path: Path) -> None:
    student, teacher = (
        find_source_model(each, tmp_path / "out") for each in (kitchen.teacher, kitchen.other)
    )
    pairs = parse_pairs([f"sw-en={kitchen.pairs}"], (find_language("en"), find_language("sw")))
    texts = read_parallel(pairs, TaskEncoder(student.tokenizer_json, max_length=48), limit=5)
    assert texts.items.languages == ("swh-Latn", "eng-Latn")
    assert texts.sources == tuple(f"{text.upper()} sw" for text in kitchen.sentences[:5]), "by the header"
    store = vector_store(tmp_path / "kept", teacher, "fp32")
    assert keep_vectors(store, teacher, texts.sources, device=torch.device("cpu"), precision="fp32") == 5
    inputs = VectorInputs(texts, store)
    batch = collate([[texts.items.get(1, 3)], [texts.items.get(0, 3)], [texts.items.get(1, 0)]], pad_id=1)
    assert inputs.weight(batch) == 3
    found = inputs(batch)[1]["kept"]["vectors"]
    wanted = vectors_of(kitchen.other, [texts.sources[number] for number in (3, 3, 0)])
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-5, atol=1e-6)
    assert found.shape == (3, 24)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_any_encoder_teaches_through_a_projection(kitchen: Kitchen, tmp_path: Path) -> None:
    """Of another family, width, vocabulary and pooling."""
    objectives = "losses: [{name: sentence-vectors, options: {distance: cosine}}]"
    stage = STAGE.replace("name: pairs,", "name: pairs, data: parallel, teacher: @OTHER, limit: 12,")
    stage = stage.replace("steps: 6", f"{objectives}, steps: 6")
    result = kitchen.distil(tmp_path / "run", stage)
    found = losses(tmp_path / "run")
    assert min(found[3:]) < found[0]
    names = weights(result.final).keys()
    assert not any("objective" in name or "projection" in name for name in names), "it stays behind"
    manifest = read_manifest(tmp_path / "run" / "stages" / "1-pairs" / "final")
    assert manifest is not None
    assert manifest["pairs"] == {"eng-Latn-swh-Latn": 12}
    kept = list((tmp_path / "run" / "stages" / "1-pairs" / "kept").iterdir())
    assert [path.name.startswith("sentence-vectors-") for path in kept] == [True]


def test_killed_while_vectors_are_made_and_while_training(
    kitchen: Kitchen, finished: DistilResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_vectors, "AT_ONCE", 8)
    whole = kitchen.distil(tmp_path / "whole")
    assert not equal(whole.final, whole.final.parent / "start")
    deaths = {("vectors of the teacher", 8), ("record", 3), ("record", 6)}
    died: list[str] = []
    made: list[int] = []

    def put(self: Any, keys: Any, arrays: Any, *, real: Any = teacher_vectors.TeacherStore.put) -> None:
        made.append(len(keys))
        real(self, keys, arrays)

    monkeypatch.setattr(teacher_vectors.TeacherStore, "put", put)

    def tell(what: str, amount: int, total: int | None) -> None:
        if (what, amount) in deaths:
            deaths.remove((what, amount))
            died.append(what)
            raise Killed

    def progress(record: Mapping[str, Any]) -> None:
        tell("record", int(record["step"]), None)

    for _ in range(5):
        try:
            result = kitchen.distil(
                tmp_path / "broken", resume=(tmp_path / "broken").exists(), tell=tell, progress=progress
            )
            break
        except Killed:
            torch.manual_seed(99)
    assert len(died) == 3
    assert made == [8, 8, 4], "none is computed twice"
    assert equal(result.final, whole.final)


def test_the_teacher_is_not_loaded_for_what_is_kept(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_source_model(kitchen.teacher, tmp_path / "out")
    options: dict[str, Any] = {"device": torch.device("cpu"), "precision": "fp32"}
    keep_vectors(vector_store(tmp_path / "kept", model, "fp32"), model, ["a", "b"], **options)

    def never(*arguments: Any, **more: Any) -> None:
        raise AssertionError("everything is there")

    monkeypatch.setattr(teacher_vectors, "load_task_model", never)
    again = vector_store(tmp_path / "kept", model, "fp32")
    assert keep_vectors(again, model, ["b", "a"], **options) == 0
    assert vector_store(tmp_path / "kept", model, "bf16").missing([]) == []
    assert len(vector_store(tmp_path / "kept", model, "bf16")) == 0, "those are others"


def test_another_pooling_is_another_teacher(kitchen: Kitchen, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kitchen.other, copy)
    first = hash_of_teacher(find_source_model(copy, tmp_path / "out"))
    assert first == hash_of_teacher(find_source_model(kitchen.other, tmp_path / "out"))
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    assert first != hash_of_teacher(find_source_model(copy, tmp_path / "out"))


def test_what_is_named_twice_is_learnt_once(kitchen: Kitchen) -> None:
    for name in ("en", "sw"):
        (kitchen.root / f"{name}.txt").write_text("a text", encoding="utf-8")
    stage = STAGE.replace("'en-sw=@PAIRS'", "'en-sw=@PAIRS', 'eng-swh=@PAIRS'")
    text = ", ".join(f"{name}={kitchen.root}/{name}.txt" for name in ("en", "sw", "en"))
    recipe = make_plan(kitchen.recipe(stage, "twice"), [f"corpora=[{text}]"]).recipe
    assert [len(spec.files) for spec in recipe.stages[0].pairs] == [1]
    assert [spec.language.code for spec in recipe.corpora] == ["eng-Latn", "swh-Latn"]


def test_another_pooling_is_another_run(kitchen: Kitchen, tmp_path: Path) -> None:
    """Going on would train one half on other vectors than the other."""
    copy = tmp_path / "copy"
    shutil.copytree(kitchen.other, copy)
    stage = STAGE.replace("name: pairs,", f"name: pairs, teacher: {copy},")
    with pytest.raises(Killed):
        kitchen.distil(tmp_path / "run", stage, progress=kill_at([3]))
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    with pytest.raises(SnapshotMismatchError, match="vectors: "):
        kitchen.distil(tmp_path / "run", stage, resume=True)


def faults_of(
    kitchen: Kitchen, stage: str, head: str = "", settings: tuple[str, ...] = ()
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        make_plan(kitchen.recipe(stage, "wrong"), settings)
    return caught.value.faults


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pairs: ['en-sw=@PAIRS']", "data: parallel", "stages[1].pairs is missing: give sentence pairs as LANG-"),
        ("['en-sw=@PAIRS']", "[]", "stages[1].pairs is []: give sentence pairs as LANG-LANG=FILE, one or a list"),
        ("en-sw=", "en-de=", "stages[1].pairs 'en-de="),
        ("steps: 6", "steps: 6, masked: false", "masked is nothing that a stage of the kind distil on parallel sent"),
        ("steps: 6", "steps: 6, losses: [hidden-mse]", "losses: hidden-mse compares what both models say about the"),
        ("steps: 6", "steps: 6, losses: []", "losses is empty"),
        ("steps: 6", "steps: 6, teacher: none", "text alone teaches nothing"),
        ("steps: 6", "steps: 6, teacher: tuned", "which no stage is called: give teacher, none, or a model directory"),
        ("steps: 6", "steps: 6, teacher: ./nowhere", "stages[1].teacher: ./nowhere: no such directory"),
        ("steps: 6", "steps: 6, teacher: ~nobodyhere/x", "stages[1].teacher: '~nobodyhere/x' is no path (Could not"),
        ("steps: 6", f"steps: 6, teacher: {'x' * 5000}", "which no stage is called: give teacher, none, or a model"),
        ("steps: 6", f"steps: 6, teacher: ./{'x' * 5000}", "is no path (File name too long)"),
        ("steps: 6", "steps: 6, task: sib200", "task is given, but data is parallel"),
        ("steps: 6", "steps: 6, transfer: corpora", "transfer is given, but only a stage that distils on a task"),
        ("steps: 6", "steps: 6, limit: 0", "limit is 0: give a whole number of at least 1"),
        ("steps: 6", "steps: 6, data: text, losses: [hidden-mse]", "pairs is given, but data is text"),
        ("pairs: [", "kind: mlm, pairs: [", "pairs is given, but data is text"),
        ("steps: 6", "epochs: 6", "epochs is nothing that"),
    ],
)  # fmt: skip
def test_faults(kitchen: Kitchen, old: str, new: str, message: str) -> None:
    data = "data: parallel, " if "data" not in new and "kind" not in new else ""
    stage = STAGE.replace(old, new).replace("{name", f"{{{data}name")
    faults = faults_of(kitchen, stage)
    assert any(message in fault for fault in faults), faults


def test_all_faults_at_once(kitchen: Kitchen) -> None:
    stage = (
        "{name: pairs, data: parallel, pairs: ['en-xq=@PAIRS', 'en-sw=nowhere.tsv'], teacher: ./nowhere, "
        "losses: [minilm, gold], masked: true, steps: 0}"
    )
    faults = faults_of(kitchen, stage)
    for part in (
        "'en-xq' does not name two languages", "no file matches it", "no such directory",
        "minilm, gold compares", "masked is nothing", "steps is 0",
    ):  # fmt: skip
        assert sum(part in fault for fault in faults) == 1, (part, faults)
    assert len(faults) == 6, faults


def test_a_student_that_pools_otherwise(kitchen: Kitchen) -> None:
    faults = faults_of(kitchen, STAGE, settings=(f"teacher={kitchen.other}",))
    assert len(faults) == 1
    assert "sentence-vectors trains the mean of the last hidden states, but" in faults[0]
    assert "by cls (modules.json)" in faults[0]


def test_a_dense_layer_that_does_not_fit(kitchen: Kitchen, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    copy = tmp_path / "copy"
    shutil.copytree(kitchen.other, copy)
    modules = json.loads((copy / "modules.json").read_text())
    modules[2] |= {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "2_Dense").mkdir()
    settings = {
        "in_features": 24,
        "out_features": 5,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (copy / "2_Dense" / "config.json").write_text(json.dumps(settings))
    model: SourceModel = find_source_model(copy, tmp_path / "out")
    for columns in (24, 23):
        save_file({"linear.weight": torch.ones(5, columns)}, copy / "2_Dense" / "model.safetensors")
        if columns == 24:
            assert teacher_vectors.vector_width(model) == 5
        else:
            with pytest.raises(InputError, match="a dense layer takes 23 units, but gets 24"):
                teacher_vectors.vector_width(model)


def test_no_pair_at_all(kitchen: Kitchen, tmp_path: Path) -> None:
    path = tmp_path / "empty.tsv"
    path.write_text("eng\tswh\n\t\n")
    stage = STAGE.replace("@PAIRS", str(path))
    with pytest.raises(InputError, match="holds no pair"):
        kitchen.distil(tmp_path / "run", stage)


def test_it_is_taught_by_the_teacher_with_its_whole_vocabulary(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in ("en", "sw"):
        (tmp_path / f"{code}.txt").write_text("the river\n", encoding="utf-8")
    asked: list[Path] = []

    def keep(store: Any, model: SourceModel, *more: Any, real: Any = keep_vectors, **options: Any) -> Any:
        asked.append(model.path)
        return real(store, model, *more, **options)

    monkeypatch.setattr(parallel_run, "keep_vectors", keep)
    settings = [
        "student.trim=true",
        f"corpora=[en={tmp_path}/en.txt, sw={tmp_path}/sw.txt]",
        "stages.pairs.steps=1",
    ]
    result = distil(kitchen.recipe(), out=tmp_path / "run", settings=settings)
    assert asked == [kitchen.teacher]
    name = "embeddings.word_embeddings.weight"
    assert weights(result.final)[name].shape[0] < weights(kitchen.teacher)[name].shape[0]
