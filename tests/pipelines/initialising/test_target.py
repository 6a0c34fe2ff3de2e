"""Tokenizers for a model: opened, compared by their ids."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.initialising.request import NewTokens
from polycompress.pipelines.initialising.target import Target, keeps_ids, new_target, vocabulary
from polycompress.pipelines.tokenizers.opening import open_tokenizer
from tests.pipelines.initialising.worlds import write_corpora
from tests.tiny_models import make_tiny, train_tokenizer


def opened(model: Path, asked: NewTokens) -> Target:
    source = resolve_model(model)
    return new_target(source, open_tokenizer(source), asked)


def test_ids_are_kept_by_extensions_alone() -> None:
    own = train_tokenizer("unigram", "fairseq")
    longer = copy.deepcopy(own)
    mask = longer["added_tokens"].pop()  # an added token behind the pieces becomes a piece
    longer["model"]["vocab"] += [[mask["content"], -50.0], ["▁ilé", -5.0]]
    assert keeps_ids(own, own)
    assert keeps_ids(own, longer)
    assert not keeps_ids(longer, own)
    swapped = copy.deepcopy(own)
    vocab = swapped["model"]["vocab"]
    vocab[10], vocab[11] = vocab[11], vocab[10]
    assert not keeps_ids(own, swapped)


def test_rows_behind_the_last_token_have_none(tmp_path: Path) -> None:
    model = make_tiny("xlm-roberta", "mlm", tmp_path / "model")
    document = json.loads((model / "tokenizer.json").read_text())
    found = vocabulary(document, model, 300)
    assert len(found.forms) == len(found.tokens) == len(found.textual) == 300
    assert not found.tokens[-5:].any()
    assert found.roles["pad"] == 1


def test_tokens_are_counted_by_the_languages_of_the_text(tmp_path: Path) -> None:
    model = make_tiny("xlm-roberta", "mlm", tmp_path / "model")
    specs = write_corpora(tmp_path)
    target = opened(model, NewTokens(tokenizer=str(model), corpus=tuple(specs)))
    assert [each.code for each in target.languages] == ["yor-Latn", "ibo-Latn"]
    assert not target.extended
    assert 3 < target.used["yor-Latn"].sum() < target.size
    assert (target.used["yor-Latn"] != target.used["ibo-Latn"]).any()
    bare = opened(model, NewTokens(tokenizer=str(model)))
    assert bare.used == {}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    model = make_tiny("xlm-roberta", "mlm", tmp_path / "model")
    specs = write_corpora(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        opened(model, NewTokens(tokenizer=str(tmp_path / "nothing")))
    with pytest.raises(InputError, match=r"there is no text of 1 language\. Zulu"):
        opened(model, NewTokens(extend=("yo", "zu"), corpus=(specs[0],)))
    with pytest.raises(InputError, match="not asked for: add it to --extend"):
        opened(model, NewTokens(extend=("zu",), corpus=(specs[0],)))
