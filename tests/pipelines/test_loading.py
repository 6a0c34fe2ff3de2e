"""Opening a model."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.pipelines.trimming.loading import make_tokenizer
from tests.tiny_models import TEXTS, train_tokenizer


@pytest.mark.parametrize("indent", [None, 2, 3, "\t"])
@pytest.mark.parametrize("kind", ["unigram", "bytebpe", "wordpiece"])
def test_truncation_is_off_and_layout_does_not_matter(kind: str, indent: int | str | None) -> None:
    state = train_tokenizer(kind, "bert" if kind == "wordpiece" else "fairseq")
    state["added_tokens"].append(
        {**state["added_tokens"][0], "id": 999, "content": "two\n  lines", "special": False}
    )
    state["added_tokens"][-1]["id"] = 1 + max(token["id"] for token in state["added_tokens"][:-1])
    state["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    raw = json.dumps(state, indent=indent).encode()
    plain, made = Tokenizer.from_str(json.dumps(state)), make_tokenizer(raw)
    plain.no_truncation()
    for text in (*TEXTS, "a two\n  lines b"):
        assert made.encode(text).ids == plain.encode(text).ids
        assert made.encode(text).tokens == plain.encode(text).tokens


def test_what_the_library_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"tokenizer\.json: the tokenizers library refuses it"):
        make_tokenizer(b'{"model": {"type": "Unigram", "vocab": [["a", "b"]]}}')
