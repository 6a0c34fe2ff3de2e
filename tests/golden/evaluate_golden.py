"""What a tiny model of fixed weights scores on a tiny task, recorded and compared to the last digit.

Record anew with ``python -m tests.golden.evaluate_golden --update``, and say in the commit why the numbers moved.
Neither versions of the libraries nor the machine may move them: weights come from numpy, words are split at spaces.
They move when texts are encoded, batched, decoded, scored or resampled in another way.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from polycompress.evaluation.packing import unpack_counts
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.judging.settings import EvaluationSettings
from tests.pipelines.tiny_pack import CATEGORIES, make_pack
from tests.tiny_models import TEXTS

RECORDED = Path(__file__).with_name("evaluate_tiny.json")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def measure() -> dict[str, Any]:
    """Scores, intervals and averages of the model on SIB-200's layout."""
    with tempfile.TemporaryDirectory() as folder:
        data, model = make_pack(Path(folder) / "data", examples=40), make_model(Path(folder) / "model")
        settings = EvaluationSettings(precision="fp32", device="cpu", batch_tokens=256)
        result = evaluate(model, task="sib200", data=data, settings=settings)
    rows = [
        {
            **{name: row[name] for name in ("language", "examples", "score", "low", "high")},
            "correct": "".join(map(str, unpack_counts(row["outcomes"]["per_seed"][0])[:, 0])),
        }
        for row in result["scores"]
    ]
    return {"metric": result["metric"], "scores": rows, "averages": result["averages"]}


def make_model(directory: Path) -> Path:
    """A BERT of two layers with weights from numpy, and a tokenizer of whole words."""
    directory.mkdir()
    words = sorted({word for text in TEXTS for word in text.split()} | {"eng_Latn", "deu_Latn", "swh_Latn"})
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *words))}
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=64, num_labels=len(CATEGORIES),
        id2label=dict(enumerate(CATEGORIES)), label2id={name: n for n, name in enumerate(CATEGORIES)},
        architectures=["BertForSequenceClassification"],
    )  # fmt: skip
    config.save_pretrained(directory)
    shapes = transformers.BertForSequenceClassification(config).state_dict()
    draw = np.random.default_rng(20)
    weights = {
        name: draw.normal(size=tuple(shape.shape)).astype(np.float32) * 0.5
        if len(shape.shape) > 1
        else np.full(tuple(shape.shape), "LayerNorm.weight" in name, np.float32)
        for name, shape in sorted(shapes.items())
        if "position_ids" not in name
    }
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


def main() -> None:
    """Record the numbers."""
    if sys.argv[1:] != ["--update"]:
        raise SystemExit("usage: python -m tests.golden.evaluate_golden --update")
    RECORDED.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
