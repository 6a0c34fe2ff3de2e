"""Evaluation's whole path against the bare forward pass on the same batches, on one core.

The demo model gets a head of each kind with random weights, and real test examples of five languages: pairs (XNLI),
sentences in words (WikiANN), questions about contexts (XQuAD). The whole path tokenises them, plans and pads batches,
computes, and turns logits into classes, tags and answers; the bare pass computes batches that lie ready and drops what
comes out. Both count real tokens, without padding, in the precision that evaluation chooses here. Every round has
examples of its own, so that the tokenizer's cache of words is as cold as in use. Wanted: the whole path reaches at
least 0.85 of the bare pass's tokens per second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers
from tokenizers import Tokenizer

from eval.speed.harness import arguments, data_directory, finish, median
from polycompress.evaluation.batches import OVERHEAD, pad_batch, plan_batches
from polycompress.evaluation.decoding import decode_answers, decode_classes, decode_tags
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.forward import BATCH_TOKENS, computing, forward
from polycompress.evaluation.models import TaskModel, task_model
from polycompress.evaluation.pretrained import quiet_transformers
from polycompress.evaluation.records import Part
from polycompress.evaluation.tasks import TaskSpec, find_task, load_examples
from polycompress.modeldir.demo import cached_demo

LANGUAGES = ("eng-Latn", "deu-Latn", "rus-Cyrl", "hin-Deva", "zho-Hans")
EXAMPLES = {"xnli": 48, "ner-wikiann": 96, "xquad": 12}
"""Of each language in each round."""
HEADS = {
    "pair-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "question-answering": transformers.AutoModelForQuestionAnswering,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with a head, and how examples become rows and logits become answers."""

    model: TaskModel
    encode: Callable[[Sequence[Any]], list[Encoded]]
    decode: Callable[[Sequence[Any], list[Encoded], list[Any]], object]


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=7)
    torch.set_num_threads(1)
    data = data_directory(asked.data)
    tokenizer = Tokenizer.from_file(str(cached_demo() / "tokenizer.json"))
    speeds: dict[str, dict[str, list[float]]] = {}
    settings: dict[str, Any] = {}
    for name, count in EXAMPLES.items():
        task = find_task(name)
        candidate = make_candidate(task, tokenizer)
        rounds = read_rounds(task, data, count, asked.rounds + 1)
        measure(candidate, rounds.pop())
        found = [measure(candidate, examples) for examples in rounds]
        speeds[name] = {"whole": [each[0] for each in found], "bare": [each[1] for each in found]}
        settings[name] = {
            "examples": sum(map(len, rounds)),
            "max_length": candidate.model.encoder.max_length,
            "precision": candidate.model.precision,
        }
    ratios = {f"{name}: whole path over bare forward": ratio(each) for name, each in speeds.items()}
    finish(
        "eval-speed",
        ratios,
        dict.fromkeys(ratios, ">= 0.85"),
        asked.out,
        unit="real tokens per processor second, one thread",
        rounds=asked.rounds,
        tokens_per_second={
            name: {path: median(values) for path, values in each.items()} for name, each in speeds.items()
        },
        batch_tokens=BATCH_TOKENS,
        languages=list(LANGUAGES),
        tasks=settings,
    )


def make_candidate(task: TaskSpec, tokenizer: Tokenizer) -> Candidate:
    """The demo model with a fresh head for a task."""
    labels = {} if task.kind == "question-answering" else {"id2label": dict(enumerate(task.labels))}
    torch.manual_seed(0)
    with quiet_transformers():
        network = HEADS[task.kind].from_pretrained(cached_demo(), dtype=torch.float32, **labels)
    model = task_model(network.eval(), tokenizer, kind=task.kind, labels=task.labels, device="cpu")
    encoder = model.encoder
    if task.kind == "token-classification":
        return Candidate(model, encoder.encode_words, lambda *found: decode_tags(*found, labels=model.labels))
    if task.kind == "question-answering":
        return Candidate(model, encoder.encode_questions, decode_answers)
    return Candidate(model, encoder.encode_texts, lambda _, __, logits: decode_classes(logits))


def read_rounds(task: TaskSpec, data: Path, count: int, rounds: int) -> list[list[Any]]:
    """Examples of all languages for each round, none of them twice."""
    every = [
        load_examples(task, Part(language), "test", data=data, limit=count * rounds) for language in LANGUAGES
    ]
    return [
        [example for examples in every for example in examples[number * count : (number + 1) * count]]
        for number in range(rounds)
    ]


def measure(candidate: Candidate, examples: Sequence[Any]) -> tuple[float, float]:
    """Real tokens per second of the whole path, then of the bare forward pass."""
    started = time.process_time()
    encoded = candidate.encode(examples)
    candidate.decode(examples, encoded, forward(candidate.model, encoded))
    whole = time.process_time() - started

    plans = plan_batches([len(row) for row in encoded], BATCH_TOKENS, overhead=OVERHEAD)
    pad_id = candidate.model.encoder.pad_id
    batches = [pad_batch([encoded[row] for row in plan], pad_id) for plan in plans]
    started = time.process_time()
    with computing(candidate.model):
        for batch in batches:
            candidate.model.model(**batch)
    bare = time.process_time() - started

    tokens = sum(map(len, encoded))
    return tokens / whole, tokens / bare


def ratio(speeds: dict[str, list[float]]) -> float:
    """The median over rounds of the whole path's speed over the bare pass's."""
    return median([whole / bare for whole, bare in zip(speeds["whole"], speeds["bare"], strict=True)])


if __name__ == "__main__":
    main()
