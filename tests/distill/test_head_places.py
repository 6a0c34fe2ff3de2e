"""A head asked at some tokens says there what it says when asked at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from polycompress.distill.capture import Watched
from polycompress.distill.head_places import HeadPlaces
from polycompress.distill.outputs import Needs
from tests.tiny_models import make_tiny

PLACES = torch.tensor([0, 3, 7, 8])


def load(family: str, head: str, folder: Path) -> Any:
    path = make_tiny(family, head, folder, vocab_size=350)
    loader = transformers.AutoModelForMaskedLM if head == "mlm" else transformers.AutoModelForCausalLM
    return loader.from_pretrained(path).eval()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 100, (2, 5), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.tensor([[1] * 5, [1] * 4 + [0]])}


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "mlm"),
        ("xlm-roberta", "mlm"),
        ("distilbert", "mlm"),
        ("deberta-v2", "mlm"),
        ("modernbert", "mlm"),
        ("gpt2", "clm"),
        ("llama", "clm"),
    ],
)
def test_logits_at_places_are_those_of_the_whole(tmp_path: Path, family: str, head: str) -> None:
    model = load(family, head, tmp_path)
    watched = Watched(model, Needs(hidden=frozenset({0, 2}), logits=True), "teacher", at_places=True)
    assert watched._head is not None
    assert watched._head._is_exact, "asked at places, not picked afterwards"
    whole, some = watched(batch()), watched(batch(), PLACES)
    assert whole.logits is not None and some.logits is not None
    vocabulary = whole.logits.shape[-1]
    assert some.logits.shape == (4, vocabulary)
    torch.testing.assert_close(
        some.logits, whole.logits.reshape(-1, vocabulary)[PLACES], atol=1e-5, rtol=1e-5
    )
    for layer in (0, 2):  # what the head sees is not what hidden states are
        assert torch.equal(some.hidden[layer], whole.hidden[layer])


def test_no_place_at_all_has_gradients_of_zero(tmp_path: Path) -> None:
    watched = Watched(load("xlm-roberta", "mlm", tmp_path), Needs(logits=True), "student", at_places=True)
    logits = watched(batch(), torch.empty(0, dtype=torch.int64)).logits
    assert logits is not None and len(logits) == 0
    logits.sum().backward()
    assert all(each.grad is None or not each.grad.any() for each in watched.model.parameters())


def test_a_head_that_wants_the_whole_sequence_gets_it(tmp_path: Path) -> None:
    model = load("bert", "mlm", tmp_path)
    plain = model.cls.forward

    def looks_around(states: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = plain(states + states.mean(dim=1, keepdim=True))
        return mixed

    model.cls.forward = looks_around
    places = HeadPlaces(model)
    assert not places._is_exact
    with torch.no_grad():
        _, some = places.logits({**batch(), "return_dict": True}, PLACES)
        whole = model(**batch()).logits
    torch.testing.assert_close(some, whole.reshape(-1, whole.shape[-1])[PLACES])
