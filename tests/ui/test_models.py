from __future__ import annotations

import os
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.ui.models import find_choices, head_of, last_written, open_model
from polycompress.ui.runs import find_entries
from tests.ui.tiny import make_model, make_training


def test_models_that_are_named_come_first(tmp_path: Path) -> None:
    named = make_model(tmp_path / "named")
    make_model(tmp_path / "runs" / "one")
    make_model(tmp_path / "runs" / "broken", languages="none")
    make_training(tmp_path / "runs" / "two")
    choices = find_choices(find_entries(tmp_path / "runs"), [named, named])
    assert list(choices) == [str(named), f"{named} (2)", "one"]
    assert choices["one"] == tmp_path / "runs" / "one"


def test_a_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        find_choices([], [str(tmp_path / "none")])


def test_a_model_is_opened_with_its_figures(tmp_path: Path) -> None:
    path = make_model(
        tmp_path / "model", "mlm", languages=[{"code": "swh-Latn"}, {"code": "xx"}, {"code": None}]
    )
    opened = open_model("tiny", path)
    assert (opened.name, opened.path, opened.head, opened.languages) == (
        "tiny",
        path,
        "masked",
        ("swh-Latn",),
    )
    assert opened.bytes == (path / "model.safetensors").stat().st_size
    assert opened.parameters is not None
    assert 0 < 4 * opened.parameters <= opened.bytes
    assert opened.vocabulary == opened.tokenizer.get_vocab_size()


def test_what_is_made_anew_is_known_by_its_time(tmp_path: Path) -> None:
    path = make_model(tmp_path / "model")
    before = open_model("tiny", path).written
    os.utime(path / "tokenizer.json", ns=(before + 5, before + 5))
    assert last_written(path) == before + 5
    assert last_written(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("names", "head"),
    [
        (["XLMRobertaForMaskedLM"], "masked"),
        (["GPT2LMHeadModel"], "causal"),
        (["LlamaForCausalLM"], "causal"),
        (["BertForSequenceClassification"], "classes"),
        (["FactorisedBertForTokenClassification"], "tags"),
        (["BertForQuestionAnswering"], "none"),
        (["MT5ForConditionalGeneration"], "none"),
        (["BertModel"], "vectors"),
        ([], "vectors"),
        (None, "vectors"),
        ([3], "vectors"),
    ],
)
def test_the_class_says_what_a_model_says(names: object, head: str) -> None:
    assert head_of(names) == head
