"""Tiny models with heads and tokenizers for tests of evaluation."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.records import Answer, QuestionExample, TextExample, WordsExample
from polycompress.modeldir.tokenizer_classes import SEGMENT_FAMILIES
from tests.tiny_models import RECIPES, make_tiny, train_tokenizer

LABELS = ("entailment", "neutral", "contradiction")
TAGS = ("O", "B-PER", "I-PER")


@functools.lru_cache(maxsize=8)
def tokenizer_json(family: str) -> str:
    return json.dumps(train_tokenizer(RECIPES[family].kind, RECIPES[family].layout), ensure_ascii=False)


def encoder(family: str = "xlm-roberta", max_length: int = 64, **options: Any) -> TaskEncoder:
    return TaskEncoder(tokenizer_json(family), max_length=max_length, pad_id=1, **options)


def tiny(family: str, head: str, directory: Path, labels: tuple[str, ...] = LABELS, **sizes: Any) -> Path:
    """A model directory whose head knows these labels."""
    make_tiny(family, head, directory, num_labels=2 if head == "qa" else len(labels), **sizes)
    if head in ("sequence", "token"):
        edit_config(
            directory, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)}
        )
    # Other classes make their own tokenizer of parts of tokenizer.json.
    names = ["input_ids", "token_type_ids", "attention_mask"]
    if family not in SEGMENT_FAMILIES:
        names.remove("token_type_ids")
    edit_config(
        directory, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", model_input_names=names
    )
    return directory


def edit_config(directory: Path, name: str = "config.json", **fields: Any) -> None:
    path = directory / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def text(first: str, second: str | None = None, key: str = "0") -> TextExample:
    return TextExample(key, first, second, 0)


def sentence(*words: str, tags: tuple[int, ...] | None = None) -> WordsExample:
    return WordsExample("0", words, tags or (0,) * len(words))


def question(context: str, asked: str, answer: str, key: str = "q") -> QuestionExample:
    return QuestionExample(key, "p", context, asked, (Answer(answer, context.index(answer)),))
