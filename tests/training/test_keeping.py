"""A teacher's outputs computed once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import Divergence
from polycompress.distill.objectives.hidden import HiddenMSE
from polycompress.distill.objectives.sentence import SentenceVectors
from polycompress.distill.shelf import Answers, Shelf, Wanted
from polycompress.training import keeping
from polycompress.training.batches import Batch, collate
from polycompress.training.distilling import Distillation, Weighted
from polycompress.training.distilling_inputs import TextInputs
from polycompress.training.examples import Example
from polycompress.training.keeping import KeptInputs, Tokens, in_teachers_ids, keep_outputs, key_of

SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
CPU = torch.device("cpu")


def model_of(seed: int) -> Any:
    torch.manual_seed(seed)
    return transformers.BertModel(transformers.BertConfig(**SMALL)).eval()


def texts_of(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(5, 60, size=random.integers(2, 9)).astype(np.uint32) for _ in range(count)]


def batch_of(texts: list[np.ndarray]) -> Batch:
    return collate([[Example(number, "eng-Latn", ids)] for number, ids in enumerate(texts)], pad_id=0)


def shelf_of(root: Path, wanted: Wanted) -> Shelf:
    return Shelf(root, "1a" * 32, wanted, width=16, classes=0, settings={})


def keep(shelf: Shelf, teacher: Any, texts: list[Tokens], budget: int = 24, **more: Any) -> int:
    return keep_outputs(
        shelf, teacher, texts, token_budget=budget, pad_id=0, device=CPU, precision="fp32", **more
    )


def plain(texts: list[np.ndarray], rows: Any = None) -> list[Tokens]:
    return [in_teachers_ids(ids, None, rows) for ids in texts]


@pytest.mark.parametrize("renumbered", [False, True])
def test_the_loss_is_that_of_a_teacher_who_is_asked(tmp_path: Path, renumbered: bool) -> None:
    """Up to the rounding of half precision, and exactly that: states are rounded, not their differences."""
    texts, student, teacher = texts_of(6), model_of(0), model_of(1)
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(1)) if renumbered else None
    vectors = (SentenceVectors(2, 2), SentenceVectors(2, None))
    losses: list[tuple[Objective, Objective]] = [(HiddenMSE([(1, 1), (2, 2)]),) * 2, vectors]
    shelf = shelf_of(tmp_path, Wanted(hidden=frozenset({1, 2}), vector=2))
    assert keep(shelf, teacher, plain(texts, None if rows is None else rows.numpy())) == 6
    inputs = KeptInputs(TextInputs(), shelf, rows)
    batch = batch_of(texts[1:5])
    shown, told = inputs(batch)
    assert inputs.weight(batch) == batch.tokens
    for (asked, ready), tolerance in zip(losses, (2e-3, 1e-5), strict=True):
        live = Distillation(student, teacher, [Weighted(name="x", objective=asked)], rows)(shown, 1.0)
        kept = Distillation(student, None, [Weighted(name="x", objective=ready)])(shown, 1.0, **told)
        assert live > 0.1
        torch.testing.assert_close(kept, live, rtol=tolerance, atol=0)


@pytest.mark.parametrize("head", ["sequence", "token", "span"])
def test_answers_of_every_head(tmp_path: Path, head: Answers) -> None:
    names = {
        "sequence": "SequenceClassification",
        "token": "TokenClassification",
        "span": "QuestionAnswering",
    }
    kind = getattr(transformers, f"BertFor{names[head]}")
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        classes = {} if head == "span" else {"num_labels": 5}
        models.append(kind(transformers.BertConfig(**SMALL, initializer_range=0.5, **classes)).eval())
    student, teacher = models
    texts = texts_of(6)
    shelf = Shelf(tmp_path, "1a" * 32, Wanted(answers=head), width=16, classes=5, settings={})
    keep(shelf, teacher, plain(texts))
    shown, told = KeptInputs(TextInputs(), shelf)(batch_of(texts[2:]))
    valid = shown["attention_mask"].bool() if head == "token" else None
    live, kept = (
        Distillation(student, each, [Weighted(name="x", objective=Divergence())])(shown, 1.0, valid, **more)
        for each, more in ((teacher, {}), (None, told))
    )
    assert live > 1e-3
    torch.testing.assert_close(kept, live, rtol=1e-5, atol=0)


def test_what_is_there_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, teacher = plain(texts_of(7)), model_of(1)
    wanted = Wanted(vector=2)
    assert keep(shelf_of(tmp_path, wanted), teacher, [*texts[:3], texts[0]]) == 3
    told: list[tuple[str, int, int | None]] = []
    assert keep(shelf_of(tmp_path, wanted), teacher, texts, tell=lambda *each: told.append(each)) == 4
    assert told == [("the teacher, once for all epochs", 7, None)]

    def never(*arguments: Any) -> None:
        raise AssertionError("all is there")

    monkeypatch.setattr(keeping, "Watched", never)
    assert keep(shelf_of(tmp_path, wanted), teacher, texts) == 0


def test_a_killed_run_gets_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "TOKENS_AT_ONCE", 40)
    texts, teacher = plain(texts_of(30)), model_of(1)
    wanted = Wanted(hidden=frozenset({1}), vector=2)
    keep(shelf_of(tmp_path / "whole", wanted), teacher, texts)

    class KilledError(Exception):
        pass

    def put(self: Shelf, *arguments: Any, real: Any = Shelf.put) -> None:
        real(self, *arguments)
        puts.append(0)
        if len(puts) == 2:
            next(iter(self.stores.values())).put(*again)  # one of two stores is further than the other
            raise KilledError

    puts: list[int] = []
    again: tuple[Any, Any] = ([], {"hidden.1": []})
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Shelf, "put", put)
        keep(shelf_of(tmp_path / "broken", wanted), teacher, texts)
    assert keep(shelf_of(tmp_path / "broken", wanted), teacher, texts) < 30
    keys = [key_of(text) for text in texts]
    lengths = [len(ids) for ids, _ in texts]
    one, other = (shelf_of(tmp_path / name, wanted).get(keys, lengths, 9) for name in ("whole", "broken"))
    assert one.keys() == other.keys() == {"hidden.1", "vectors"}
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_two_texts_of_a_pair_are_told_apart(tmp_path: Path) -> None:
    ids, teacher = np.array([5, 6, 7, 8]), model_of(1)
    first, second = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    texts = [in_teachers_ids(ids, types, None) for types in (None, first, second)]
    assert len({key_of(text) for text in texts}) == 3
    shelf = shelf_of(tmp_path, Wanted(vector=2))
    keep(shelf, teacher, texts[1:])

    class Pairs:
        def weight(self, batch: Batch) -> int:
            return 2

        def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
            types = torch.from_numpy(np.stack([first, second]))
            return {**batch.inputs(), "token_type_ids": types}, {"labels": torch.zeros(2)}

    shown, told = KeptInputs(Pairs(), shelf)(batch_of([ids, ids]))
    with torch.no_grad():
        wanted = teacher(**shown).last_hidden_state.mean(dim=1)
    torch.testing.assert_close(told["kept"]["vectors"], wanted)
    assert "labels" in told


def test_letting_go_of_the_teachers_frees_them() -> None:
    teacher = model_of(1)
    distillation = Distillation(model_of(0), teacher, [Weighted(name="x", objective=HiddenMSE([(1, 1)]))])
    distillation.let_go_of_teachers()
    assert distillation.teachers == ()
    assert {parameter.device.type for parameter in teacher.parameters()} == {"meta"}
