from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from polycompress.errors import InputError, PolycompressError
from polycompress.evaluation.decoding import decode_answers, decode_classes, decode_tags
from polycompress.evaluation.forward import embed, forward, forward_with_states
from polycompress.evaluation.models import load_task_model, task_model
from tests.evaluation.tiny_task_models import LABELS, TAGS, question, sentence, text, tiny
from tests.tiny_models import TEXTS

PAIRS = [text(first, second) for first, second in zip(TEXTS, reversed(TEXTS), strict=True)]


def alone(path: Path, inputs: list[Any], loader: str) -> list[Any]:
    """Each input through plain transformers, without a batch."""
    model = getattr(transformers, loader).from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    outputs = []
    for each in inputs:
        given = tokenizer(*each, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            outputs.append(model(**given))
    return outputs


@pytest.mark.parametrize(
    "family", ["xlm-roberta", "bert", "distilbert", "electra", "gpt2", "t5", "modernbert"]
)
def test_classes_are_those_of_plain_transformers(family: str, tmp_path: Path) -> None:
    path = tiny(family, "sequence", tmp_path / "m")
    model = load_task_model(path, "pair-classification", LABELS, precision="fp32", max_length=64)
    found = np.stack(forward(model, model.encoder.encode_texts(PAIRS), batch_tokens=400))
    theirs = alone(path, [(each.text, each.second) for each in PAIRS], "AutoModelForSequenceClassification")
    wanted = np.concatenate([output.logits.numpy() for output in theirs])
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    assert decode_classes(list(found)).tolist() == wanted.argmax(axis=1).tolist()


def test_columns_follow_the_labels_of_the_task(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m", ("neutral", "contradiction", "entailment"))
    model = load_task_model(path, "pair-classification", LABELS, precision="fp32")
    (mine,) = forward(model, model.encoder.encode_texts(PAIRS[:1]))
    (theirs,) = alone(path, [(PAIRS[0].text, PAIRS[0].second)], "AutoModelForSequenceClassification")
    np.testing.assert_allclose(mine, theirs.logits[0, [2, 0, 1]].numpy(), atol=1e-5)


def test_words_of_a_long_sentence(tmp_path: Path) -> None:
    path = tiny("xlm-roberta", "token", tmp_path / "m", TAGS)
    examples = [sentence(*line.split()) for line in (*TEXTS, " ".join(TEXTS))]
    model = load_task_model(path, "token-classification", TAGS, precision="fp32", max_length=40)
    encoded = model.encoder.encode_words(examples)
    assert len(encoded) > len(examples)
    logits = forward(model, encoded, batch_tokens=200)
    assert [scores.shape for scores in logits] == [(len(row), 3) for row in encoded]
    tags = decode_tags(examples, encoded, logits, TAGS)
    assert [len(each) for each in tags] == [len(example.words) for example in examples]
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(path).eval()
    for row, scores in list(zip(encoded, logits, strict=True))[:4]:
        with torch.no_grad():
            wanted = theirs(input_ids=torch.from_numpy(row.ids.astype(np.int64))[None]).logits[0]
        np.testing.assert_allclose(scores, wanted.numpy(), rtol=1e-4, atol=1e-3)


def test_questions_of_long_contexts(tmp_path: Path) -> None:
    path = tiny("bert", "qa", tmp_path / "m")
    context = " ".join(TEXTS[:5])
    examples = [question(context, "What jumps?", "fox", "a"), question(TEXTS[2], "Who?", "dog", "b")]
    model = load_task_model(path, "question-answering", precision="fp32")
    encoded = model.encoder.encode_questions(examples, 16)
    logits = forward(model, encoded, batch_tokens=128)
    answers = decode_answers(examples, encoded, logits)
    assert set(answers) == {"a", "b"}
    assert answers["a"] in context
    assert answers["a"].strip()
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    assert (
        max(len(tokenizer.encode(answer, add_special_tokens=False).ids) for answer in answers.values()) <= 30
    )


def test_a_batch_too_small(tmp_path: Path) -> None:
    model = load_task_model(tiny("bert", "sequence", tmp_path / "m"), "pair-classification", LABELS)
    with pytest.raises(InputError, match="batch_tokens is 16, but the longest text takes"):
        forward(model, model.encoder.encode_texts(PAIRS), batch_tokens=16)


def test_progress_adds_up_and_the_model_stays_in_training(tmp_path: Path) -> None:
    model = load_task_model(tiny("bert", "sequence", tmp_path / "m"), "pair-classification", LABELS)
    model.model.train()
    done: list[int] = []
    encoded = model.encoder.encode_texts(PAIRS)
    forward(model, encoded, batch_tokens=256, progress=done.append)
    assert sum(done) == len(PAIRS)
    assert len(done) > 1
    assert model.model.training
    assert forward(model, []) == []


def test_bf16_is_near(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    results = []
    for precision in ("fp32", "bf16"):
        model = load_task_model(path, "pair-classification", LABELS, precision=precision)  # type: ignore[arg-type]
        assert model.precision == precision
        found = forward(model, model.encoder.encode_texts(PAIRS))
        assert found[0].dtype == np.float32
        results.append(np.stack(found))
    assert not np.array_equal(*results)
    assert np.abs(results[0] - results[1]).max() < 0.15 * np.abs(results[0]).max()


@pytest.mark.parametrize(
    ("family", "head"), [("bert", "sequence"), ("xlm-roberta", "token"), ("t5", "sequence")]
)
def test_states_are_averaged_over_tokens(family: str, head: str, tmp_path: Path) -> None:
    path = tiny(family, head, tmp_path / "m")
    kind = "token-classification" if head == "token" else "text-classification"
    model = load_task_model(path, kind, LABELS, precision="fp32", max_length=64)  # type: ignore[arg-type]
    encoded = model.encoder.encode_strings(TEXTS)
    logits, states = forward_with_states(model, encoded, batch_tokens=256)
    for one, other in zip(logits, forward(model, encoded, batch_tokens=256), strict=True):
        np.testing.assert_array_equal(one, other)
    assert states.shape == (len(TEXTS), 16)
    row = torch.from_numpy(encoded[3].ids.astype(np.int64))[None]
    with torch.no_grad():
        base = model.model.get_encoder() if family == "t5" else model.model.base_model
        wanted = base(input_ids=row).last_hidden_state.mean(dim=1)[0]
    np.testing.assert_allclose(states[3], wanted.numpy(), rtol=1e-4, atol=1e-3)


def test_a_model_in_memory(tmp_path: Path) -> None:
    path = tiny("bert", "sequence", tmp_path / "m")
    loaded = load_task_model(path, "pair-classification", LABELS, precision="fp32", max_length=48)
    same = task_model(
        loaded.model,
        loaded.tokenizer,
        kind="pair-classification",
        labels=LABELS,
        precision="fp32",
        max_length=48,
    )
    rows = [each.encoder.encode_texts(PAIRS) for each in (loaded, same)]
    for one, other in zip(forward(loaded, rows[0]), forward(same, rows[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert same.config["model_type"] == "bert"


def test_a_tokenizer_of_another_model(tmp_path: Path) -> None:
    model = load_task_model(tiny("bert", "sequence", tmp_path / "m"), "pair-classification", LABELS)
    rows = len(model.model.get_input_embeddings().weight)
    (encoded,) = model.encoder.encode_texts(PAIRS[:1])
    encoded.ids[1] = rows
    with pytest.raises(InputError, match=f"gives the id {rows}, but the model's table has {rows} rows"):
        forward(model, [encoded])


def test_logits_that_are_no_numbers(tmp_path: Path) -> None:
    model = load_task_model(tiny("bert", "sequence", tmp_path / "m"), "pair-classification", LABELS)
    with torch.no_grad():
        model.model.classifier.bias[1] = float("nan")
    with pytest.raises(PolycompressError, match="logits are not all finite numbers"):
        forward(model, model.encoder.encode_texts(PAIRS))


def test_embeddings_that_are_no_numbers(tmp_path: Path) -> None:
    model = load_task_model(tiny("bert", "base", tmp_path / "m"), "retrieval")
    with torch.no_grad():
        model.model.embeddings.LayerNorm.bias[1] = float("nan")
    with pytest.raises(PolycompressError, match="embeddings are not all finite numbers"):
        embed(model, ["a text"])
