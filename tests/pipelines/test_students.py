"""Ranking shapes of students: budgets, vocabularies, and scores that come out the same again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from polycompress.distill.diswot import diswot_score
from polycompress.distill.shapes import Shape, Width
from polycompress.errors import InputError
from polycompress.pipelines.distilling.search_models import (
    look,
    make_table,
    random_student,
    shaped_settings,
    teacher_width,
    width_cost,
)
from polycompress.pipelines.distilling.search_request import SearchSettings
from polycompress.pipelines.distilling.search_text import make_batches, token_roles
from polycompress.pipelines.students import NO_EVIDENCE, students
from polycompress.pipelines.trimming.loading import open_model
from tests.tiny_models import TEXTS, make_tiny

QUICK = SearchSettings(seeds=2, batches=1, texts=8, length=16)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "teacher", num_hidden_layers=4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("text") / "en.txt"
    path.write_text("\n".join(TEXTS * 20), encoding="utf-8")
    return f"en={path}"


def config_of(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
    return config


def test_students_within_a_budget_are_ranked_by_their_scores(teacher: Path, corpus: str) -> None:
    found = students(teacher, budget="9K", langs="en", corpus=corpus, settings=QUICK)
    assert found.students
    assert all(4500 <= each.parameters <= 9000 for each in found.students)
    assert all(each.bytes == 4 * each.parameters for each in found.students)
    totals = [each.score.total for each in found.students]
    assert totals == sorted(totals, reverse=True)
    assert [each.rank for each in found.students] == list(range(1, len(totals) + 1))
    assert all(total < 0 and each.error > 0 for total, each in zip(totals, found.students, strict=True))
    assert found.considered > len(found.students)
    assert NO_EVIDENCE in found.notes
    again = students(teacher, budget="9K", langs="en", corpus=corpus, settings=QUICK)
    assert again.as_dict() == found.as_dict()
    best, *others = found.students
    like = [
        each for each in others if best.score.total - each.score.total <= 2 * np.hypot(best.error, each.error)
    ]
    said = [note for note in found.notes if "the scores do not tell them apart" in note]
    assert [note.split()[0] for note in said] == ([str(len(like))] if like else [])
    other = students(teacher, budget="9K", langs="en", corpus=corpus, settings=replace(QUICK, seed=5))
    assert other.as_dict()["students"] != found.as_dict()["students"]


def test_parameters_are_those_of_the_model(teacher: Path) -> None:
    config = config_of(teacher)
    for shape in (Shape(3, Width(8, 2, 12), 50), Shape(1, Width(16, 4, 7), 10)):
        student = random_student(config, shape, 0)
        wanted = sum(parameter.numel() for parameter in student.parameters())
        assert width_cost(config, shape.width).parameters(shape.layers, shape.tokens) == wanted
        assert len(student.encoder.layer) == shape.layers


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("distilbert", "n_layers"),
        ("modernbert", "num_hidden_layers"),
        ("gpt2", "n_layer"),
        ("qwen3", "num_hidden_layers"),
    ],
)
def test_other_families_are_counted_too(family: str, layers: str, tmp_path: Path) -> None:
    path = make_tiny(family, "base" if family != "gpt2" else "clm", tmp_path / "tiny", **{layers: 4})
    config = config_of(path)
    width = teacher_width(config)
    whole = transformers.AutoModel.from_pretrained(path)
    tokens = whole.get_input_embeddings().num_embeddings
    wanted = sum(parameter.numel() for parameter in whole.parameters())
    assert width_cost(config, width).parameters(4, tokens) == wanted


def test_a_budget_in_bytes_and_in_time(teacher: Path, corpus: str) -> None:
    settings = replace(QUICK, layers=(1, 2), hidden=(8,), tokens=(100,))
    found = students(teacher, budget="36KB", langs="en", corpus=corpus, settings=settings)
    assert found.budget == "36KB"
    assert all(each.bytes <= 36_000 and each.latency_ms is None for each in found.students)
    found = students(teacher, budget="10000 ms", langs="en", corpus=corpus, settings=settings)
    assert {each.shape.layers for each in found.students} == {1, 2}
    assert all(each.latency_ms is not None and 0 < each.latency_ms < 10_000 for each in found.students)


def test_without_languages_the_text_is_english(teacher: Path) -> None:
    found = students(teacher, budget="1M", settings=replace(QUICK, layers=(2,), hidden=(8,)))
    assert [language.code for language in found.languages] == ["eng-Latn"]
    assert any("no --langs" in note for note in found.notes)
    sizes = {each.shape.tokens for each in found.students}
    assert len(sizes) > 1
    assert max(sizes) == open_model(teacher).vocabulary.size


def test_decoders_keep_their_width(tmp_path: Path, corpus: str) -> None:
    path = make_tiny("llama", "clm", tmp_path / "llama", num_hidden_layers=2)
    found = students(path, budget="1M", langs="en", corpus=corpus, settings=QUICK)
    assert {each.shape.width.hidden for each in found.students} == {16}
    assert any("keep its width" in note for note in found.notes)
    with pytest.raises(InputError, match="leave --hidden, --heads"):
        students(path, budget="1M", langs="en", corpus=corpus, settings=replace(QUICK, hidden=(8,)))


@pytest.mark.parametrize(
    ("budget", "settings", "message"),
    [
        ("10", QUICK, "--budget '10' does not say of what"),
        ("100", QUICK, "does not say of what.*time of one text as 15ms"),
        ("0.1K", QUICK, r"too small for any student of teacher.*The smallest has 1 layer, hidden size 8"),
        ("9K", replace(QUICK, layers=(5,)), "--layers 5: the teacher has 4"),
        ("9K", replace(QUICK, hidden=(9,)), r"No hidden size \(9\) is a multiple"),
    ],
)
def test_what_cannot_be_is_refused(
    teacher: Path, corpus: str, budget: str, settings: SearchSettings, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        students(teacher, budget=budget, langs="en", corpus=corpus, settings=settings)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(InputError, match=r"seeds is 0; .*texts is 1; .*hidden holds -1"):
        SearchSettings(seeds=0, texts=1, hidden=(4, -1))


def test_all_that_is_wrong_is_named_at_once(teacher: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)2 places.*--budget 'much'.*xx") as told:
        students(teacher, budget="much", langs="xx", corpus="en=no.txt")
    assert "no.txt" not in str(told.value), "which languages there are is not known"
    with pytest.raises(InputError, match=r"(?s)2 places.*no\.txt.*--layers 9"):
        students(teacher, budget="1M", corpus="en=no.txt", settings=replace(QUICK, layers=(9,)))


def test_the_teacher_itself_scores_highest(teacher: Path) -> None:
    """A student with the teacher's weights, told apart by its own small table, has the score 0."""
    opened = open_model(teacher)
    roles = token_roles(opened, json.loads((teacher / "tokenizer_config.json").read_text("utf-8")))
    assert roles["mask"] is not None
    batches = make_batches(opened, TEXTS, roles=roles, causal=False, size=8, length=16, seed=0)
    assert len(batches) == 2
    for batch in batches:
        assert (batch.ids[batch.rows, batch.columns] == roles["mask"]).all()
        assert not np.isin(batch.classes, list(opened.vocabulary.special)).any()
        assert batch.mask[batch.rows, batch.columns].all()
    model = transformers.AutoModel.from_pretrained(teacher).eval()
    table = make_table(batches, np.ones(opened.vocabulary.size, np.bool_), 3, 1)
    copy = random_student(
        opened.config,
        Shape(4, teacher_width(opened.config), table.rows),
        0,
        pad_token_id=int(table.numbers[1]),
    )
    weights = model.state_dict()
    held = torch.tensor([int(np.flatnonzero(table.numbers == row)[0]) for row in range(table.rows)])
    unknown = int(table.numbers[3])
    held[unknown] = 3
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][held]
    copy.load_state_dict(weights)
    found = diswot_score(look(model, batches[0]), look(copy, batches[0], table))
    assert found.total == pytest.approx(0, abs=1e-9)
    other = random_student(opened.config, Shape(4, teacher_width(opened.config), table.rows), 1)
    assert diswot_score(look(model, batches[0]), look(other, batches[0], table)).total < -1e-5


def test_a_causal_model_tells_the_next_token(tmp_path: Path) -> None:
    path = make_tiny("gpt2", "clm", tmp_path / "gpt2")
    opened = open_model(path)
    (batch,) = make_batches(
        opened, TEXTS, roles={"pad": 0, "mask": None}, causal=True, size=16, length=16, seed=0
    )
    assert (batch.ids[batch.rows, batch.columns + 1] == batch.classes[batch.labels]).all()


def test_ids_that_are_not_kept_become_unknown(teacher: Path) -> None:
    opened = open_model(teacher)
    batches = make_batches(
        opened, TEXTS, roles={"pad": 1, "mask": None}, causal=False, size=16, length=16, seed=0
    )
    keep = np.ones(opened.vocabulary.size, np.bool_)
    lost = int(batches[0].classes[0])
    keep[lost] = False
    table = make_table(batches, keep, 3, 1)
    assert table.numbers[lost] == table.numbers[3]
    assert table.numbers[1] == 1
    kept = np.unique(np.concatenate([batches[0].ids.ravel(), batches[0].classes]))
    kept = kept[keep[kept]]
    assert len(np.unique(table.numbers[kept])) == len(kept)
    assert table.numbers.max() < table.rows


def test_one_score_has_no_error(teacher: Path, corpus: str) -> None:
    found = students(teacher, budget="9K", langs="en", corpus=corpus, settings=replace(QUICK, seeds=1))
    assert {each["error"] for each in found.as_dict()["students"]} == {None}
    json.dumps(found.as_dict(), allow_nan=False, default=str)
    assert not any("standard errors" in note for note in found.notes)


def test_a_teacher_whose_states_are_no_numbers(tmp_path: Path, corpus: str) -> None:
    from safetensors.torch import load_file, save_file

    path = make_tiny("xlm-roberta", "mlm", tmp_path / "broken", num_hidden_layers=4)
    tensors = load_file(path / "model.safetensors")
    next(tensor for name, tensor in tensors.items() if "layer.2.output.dense.weight" in name)[0, 0] = (
        torch.nan
    )
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"broken: .* NaN or infinite"):
        students(path, budget="9K", langs="en", corpus=corpus, settings=QUICK)


def test_students_of_a_shape_have_its_sizes(teacher: Path) -> None:
    settings = shaped_settings(config_of(teacher), Shape(2, Width(8, 4, 20), 30))
    assert (settings.num_hidden_layers, settings.hidden_size, settings.num_attention_heads) == (2, 8, 4)
    assert (settings.intermediate_size, settings.vocab_size, settings.pad_token_id) == (20, 30, 1)
