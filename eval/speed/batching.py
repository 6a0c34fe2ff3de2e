"""Length-bucketed and packed batches against random ones that are padded, through a small encoder on one core.

Real text of six languages, lines from a word to a paragraph, tokenised by the demo model's tokenizer, goes through a
6-layer, 384-wide encoder with random weights (forward only, fp32), as a teacher's does in distillation. Random batches
hold 8 or 32 texts; the larger they are the more they pad, so the first is the hard comparison. The cost of making the
batches is in the time. Wanted: bucketed batches process at least 1.5 times the real tokens per second (padding is not
counted) of either.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from eval.speed.harness import arguments, data_directory, finish, median
from polycompress.corpora import Reading, parse_corpora
from polycompress.languages import find_language
from polycompress.modeldir.demo import cached_demo
from polycompress.training.batches import Batch, collate
from polycompress.training.batching import Batching
from polycompress.training.examples import Examples
from polycompress.training.loader import BatchLoader
from polycompress.training.mixing import LanguageMixer
from polycompress.training.tokenising import Cutting, prepare_examples

LANGUAGES = ("en", "de", "sw", "hi", "tr", "am")
SAMPLE = 0.25
MAX_LENGTH = 256
BUDGET = 2048
TOKENS = 8_000
"""Real ones of each kind of batch in each round, about."""
PAD = 1
RANDOM = (8, 32)
"""Texts of a random batch."""


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=7)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        examples = read_examples(data_directory(asked.data) / "text", Path(scratch))
        encoder = make_encoder()
        kinds: dict[str, Iterator[Batch]] = {
            "bucketed": loader(examples, Batching(token_budget=BUDGET)),
            "packed": loader(examples, Batching(token_budget=BUDGET, packed_length=MAX_LENGTH)),
        }
        kinds |= {f"random {rows}": random_batches(examples, rows) for rows in RANDOM}
        for batches in kinds.values():
            forward(encoder, next(batches))
        speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
        real: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(asked.rounds):
            for kind, batches in kinds.items():
                speed, share = measure(encoder, batches)
                speeds[kind].append(speed)
                real[kind].append(share)
        sizes = dict(zip(examples.languages, examples.counts, strict=True))
    ratios = {
        f"{ours} over random batches of {rows}": ratio(speeds[ours], speeds[f"random {rows}"])
        for ours in ("bucketed", "packed")
        for rows in RANDOM
    }
    finish(
        "batching-speed",
        ratios,
        {f"bucketed over random batches of {rows}": ">= 1.5" for rows in RANDOM},
        asked.out,
        unit="real tokens per processor second, one thread",
        rounds=asked.rounds,
        tokens_per_second={kind: median(values) for kind, values in speeds.items()},
        real_share={kind: median(values) for kind, values in real.items()},
        token_budget=BUDGET,
        max_length=MAX_LENGTH,
        texts=sizes,
    )


def read_examples(texts: Path, work: Path) -> Examples:
    """A sample of the texts, tokenised."""
    specs = [f"{code}={texts}/{code}.txt.gz" for code in LANGUAGES]
    corpora = parse_corpora(specs, [find_language(code) for code in LANGUAGES])
    tokenizer = (cached_demo() / "tokenizer.json").read_text(encoding="utf-8")
    return prepare_examples(
        tokenizer, corpora, work, Cutting(max_length=MAX_LENGTH), reading=Reading(sample=SAMPLE)
    )


def make_encoder() -> Any:
    """The student's shape with random weights."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig(
        vocab_size=250_037,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=MAX_LENGTH + 2,
        pad_token_id=PAD,
    )
    return XLMRobertaModel(config, add_pooling_layer=False).eval()


def loader(examples: Examples, batching: Batching) -> Iterator[Batch]:
    """Batches without an end."""
    mixer = LanguageMixer(examples)
    return iter(BatchLoader(examples, mixer, batching, pad_id=PAD, first_position=PAD + 1))


def random_batches(examples: Examples, rows: int) -> Iterator[Batch]:
    """Texts in the order of the mixer, so many at a time, padded."""
    texts = (examples.get(draw.language, draw.index) for draw in LanguageMixer(examples))
    while True:
        yield collate([[text] for text in itertools.islice(texts, rows)], pad_id=PAD)


def measure(encoder: Any, batches: Iterator[Batch]) -> tuple[float, float]:
    """Real tokens per second, and their share of all."""
    tokens = places = 0
    started = time.process_time()
    while tokens < TOKENS:
        batch = next(batches)
        forward(encoder, batch)
        tokens += batch.tokens
        places += batch.input_ids.numel()
    return tokens / (time.process_time() - started), tokens / places


def forward(encoder: Any, batch: Batch) -> None:
    """One batch through the encoder."""
    with torch.inference_mode():
        encoder(**batch.inputs())


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over rounds."""
    return median([one / other for one, other in zip(ours, theirs, strict=True)])


if __name__ == "__main__":
    main()
