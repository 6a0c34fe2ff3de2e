from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM

from polycompress.errors import InputError
from polycompress.ui.answers import KEPT, TOP, Answers, similarity, with_gap
from polycompress.ui.models import OpenedModel, open_model
from tests.tiny_models import TEXTS, make_tiny
from tests.ui.tiny import make_model


def opened(path: Path, head: str, model_type: str = "xlm-roberta") -> OpenedModel:
    make_tiny(model_type, head, path, vocab_size=400)
    return open_model(path.name, path)


def test_a_gap_is_guessed_as_transformers_guesses_it(tmp_path: Path) -> None:
    model = opened(tmp_path / "mlm", "mlm")
    answer = Answers().ask(model, "Nairobi ni ___ wa Kenya")
    tokenizer = Tokenizer.from_file(str(model.path / "tokenizer.json"))
    ids = tokenizer.encode("Nairobi ni <mask> wa Kenya").ids
    with torch.inference_mode():
        logits = AutoModelForMaskedLM.from_pretrained(model.path)(torch.tensor([ids])).logits[0]
    shares, best = logits[ids.index(tokenizer.token_to_id("<mask>"))].softmax(-1).topk(TOP)
    assert [name for name, _ in answer.rows] == [tokenizer.id_to_token(each) for each in best.tolist()]
    assert [share for _, share in answer.rows] == pytest.approx(shares.tolist(), rel=1e-4)
    assert answer.milliseconds > 0


def test_a_head_that_is_not_whole_is_not_asked(tmp_path: Path) -> None:
    model = opened(tmp_path / "mlm", "mlm")
    tensors = load_file(model.path / "model.safetensors")
    save_file(
        {name: each for name, each in tensors.items() if name != "lm_head.dense.weight"},
        model.path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(
        InputError, match=r"the checkpoint lacks 1 parameters, such as lm_head\.dense\.weight"
    ):
        Answers().ask(model, "text")


def test_a_decoder_says_what_comes_next(tmp_path: Path) -> None:
    answer = Answers().ask(opened(tmp_path / "clm", "clm", "gpt2"), TEXTS[2])
    assert answer.head == "causal"
    assert len(answer.rows) == TOP


def test_classes_have_shares_that_add_up(tmp_path: Path) -> None:
    path = opened(tmp_path / "classes", "sequence").path
    config = json.loads((path / "config.json").read_text())
    labels = {"id2label": {"0": "NO", "1": "YES"}, "label2id": {"NO": 0, "YES": 1}}
    (path / "config.json").write_text(json.dumps({**config, **labels}))
    answer = Answers().ask(open_model("classes", path), TEXTS[2])
    assert {name for name, _ in answer.rows} == {"NO", "YES"}
    shares = [share for _, share in answer.rows]
    assert sum(shares) == pytest.approx(1, abs=1e-6)
    assert shares == sorted(shares, reverse=True)


def test_every_word_has_a_tag(tmp_path: Path) -> None:
    answer = Answers().ask(opened(tmp_path / "tags", "token"), "Nairobi ni mji mkuu")
    assert [name.split(": ")[0] for name, _ in answer.rows] == ["Nairobi", "ni", "mji", "mkuu"]


def test_encoders_give_vectors(tmp_path: Path) -> None:
    model = opened(tmp_path / "base", "base")
    answers = Answers()
    answer = answers.ask(model, TEXTS[0], TEXTS[1])
    assert answer.vector is not None
    assert answer.second is not None
    assert answer.vector.shape == answer.second.shape
    again = answers.ask(model, TEXTS[1])
    assert again.second is None
    assert again.vector is not None
    assert similarity(again.vector, answer.second) == pytest.approx(1, abs=1e-6)


def test_few_models_are_kept_and_those_made_anew_are_read_anew(tmp_path: Path) -> None:
    answers = Answers()
    for name in ("a", "b", "c"):
        answers.ask(opened(tmp_path / name, "base"), "text")
    assert [path.name for path, _ in answers._loaded] == ["b", "c"]
    assert len(answers._loaded) == KEPT


@pytest.mark.parametrize(
    ("head", "text", "message"),
    [
        ("base", "  ", "There is no text"),
        ("qa", "text", "shows tokens alone"),
        ("mlm", "word " * 500 + "___", "longer than the 64 tokens"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path: Path, head: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Answers().ask(opened(tmp_path / head, head), text)


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    path = make_model(tmp_path / "model", "sequence")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "id2label": {"first": "A"}}))
    with pytest.raises(InputError, match=r"config\.json: id2label names no labels by their numbers"):
        Answers().ask(open_model("tiny", path), "text")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", "one <mask>"),
        ("one", "one<mask>"),
        ("___ two ___", "<mask> two "),
        ("<mask> two", "<mask> two"),
    ],
)
def test_a_text_has_one_gap(text: str, expected: str) -> None:
    assert with_gap(text, "<mask>") == expected


def test_vectors_are_compared_by_their_angle() -> None:
    one, other = np.array([1, 0], np.float32), np.array([1, 1], np.float32)
    assert similarity(one, other) == pytest.approx(0.5**0.5)
    assert similarity(one, 3 * one) == 1.0
    assert similarity(one, np.zeros(2, np.float32)) is None
    assert similarity(one, np.ones(3, np.float32)) is None
