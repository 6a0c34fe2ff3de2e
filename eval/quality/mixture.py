"""How well are the languages' shares of a BPE tokenizer's training text inferred?

Tokenizers are trained here on known mixtures of real languages of the data pack: byte-level BPE, BPE on characters with
Metaspace, and SentencePiece's own BPE written as its converters write it (every split of a token among the merges, no
pre-tokeniser). One half of each language's text trains, the other half stands for the language when the shares are
inferred. Recorded are the error in points of share, whether the 95 % interval holds the truth, and what is said when a
candidate is missing, when one too many is named, and when word frequencies stand for all languages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import data_directory, machine, versions
from polycompress.languages import find_language
from polycompress.pipelines.mixture import DEFAULT_MERGES, DEFAULT_SAMPLES, MixtureReport, infer_mixture

SIZE = 8000
SEED = 0
TRAINING_BYTES = 1_200_000
MIXTURES: tuple[dict[str, float], ...] = (
    {"de": 0.7, "sw": 0.3},
    {"ja": 0.5, "en": 0.5},
    {"es": 0.8, "pt": 0.2},
    {"en": 0.6, "fr": 0.25, "ru": 0.15},
    {"tr": 0.34, "fi": 0.33, "id": 0.33},
    {"hi": 0.2, "ar": 0.4, "ko": 0.4},
    {"en": 0.4, "de": 0.25, "fr": 0.15, "ru": 0.15, "zh": 0.05},
    {"pl": 0.2, "cs": 0.2, "uk": 0.2, "nl": 0.2, "it": 0.2},
    {"vi": 0.35, "yo": 0.1, "el": 0.1, "sv": 0.25, "hu": 0.2},
)
MISSING = (
    ({"en": 0.4, "de": 0.25, "fr": 0.15, "ru": 0.15, "zh": 0.05}, "zh"),
    ({"en": 0.4, "de": 0.25, "fr": 0.15, "ru": 0.15, "zh": 0.05}, "fr"),
    ({"en": 0.4, "de": 0.25, "fr": 0.15, "ru": 0.15, "zh": 0.05}, "en"),
)


def half(data: Path, code: str, which: int) -> list[str]:
    """One of two halves of a language's text, told apart by the lines themselves."""
    with gzip.open(data / f"text/{code}.txt.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    return [line for line in lines if zlib.crc32(line.encode()) % 2 == which]


def mix(data: Path, mixture: Mapping[str, float], total: int) -> tuple[list[str], dict[str, float]]:
    """Lines of a mixture in random order, and the shares of their bytes."""
    lines: list[str] = []
    sizes: dict[str, int] = {}
    halves = {code: half(data, code, 0) for code in mixture}
    room = min(sum(len(line.encode()) for line in halves[code]) / share for code, share in mixture.items())
    for code, share in mixture.items():
        sizes[code] = 0
        for line in halves[code]:
            if sizes[code] >= share * min(total, room):
                break
            lines.append(line)
            sizes[code] += len(line.encode())
    random.Random(SEED).shuffle(lines)
    return lines, {code: size / sum(sizes.values()) for code, size in sizes.items()}


def train_byte_level(lines: Sequence[str], folder: Path) -> str:
    """GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return str(tokenizer.to_str())


def train_metaspace(lines: Sequence[str], folder: Path) -> str:
    """Characters, and words marked as SentencePiece marks them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return str(tokenizer.to_str())


def train_sentencepiece(lines: Sequence[str], folder: Path) -> str:
    """Llama's kind: trained by sentencepiece, then written with every split of a piece as a merge."""
    import sentencepiece

    prefix = str(folder / "sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=prefix,
        vocab_size=SIZE,
        model_type="bpe",
        character_coverage=0.9995,
        byte_fallback=True,
        split_digits=True,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    names = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    vocab = {name: number for number, name in enumerate(names)}
    splits = [
        (-model.get_score(number), cut, name)
        for number, name in enumerate(names)
        if not (model.is_byte(number) or model.is_control(number) or model.is_unknown(number))
        for cut in range(1, len(name))
        if name[:cut] in vocab and name[cut:] in vocab
    ]
    steps = [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [[name[:cut], name[cut:]] for _, cut, name in sorted(splits)],
        },
    }
    return json.dumps(document, ensure_ascii=False)


KINDS = {"byte-level": train_byte_level, "metaspace": train_metaspace, "sentencepiece": train_sentencepiece}


class Bench:
    """A directory with the halves that infer, and tokenizers made on demand."""

    def __init__(self, data: Path, folder: Path, training_bytes: int = TRAINING_BYTES) -> None:
        self._data, self._folder, self._training_bytes = data, folder, training_bytes
        self._made: dict[tuple[str, str], tuple[Path, dict[str, float]]] = {}

    def tokenizer(self, kind: str, mixture: Mapping[str, float]) -> tuple[Path, dict[str, float]]:
        """A model directory with a tokenizer only, and the true shares."""
        key = (kind, json.dumps(mixture))
        if key not in self._made:
            lines, shares = mix(self._data, mixture, self._training_bytes)
            path = self._folder / f"model-{len(self._made)}"
            path.mkdir()
            (path / "config.json").write_text("{}")
            (path / "tokenizer.json").write_text(KINDS[kind](lines, path), encoding="utf-8")
            self._made[key] = (path, shares)
        return self._made[key]

    def infer(
        self,
        model: Path,
        codes: Sequence[str],
        *,
        text: bool = True,
        merges: int = DEFAULT_MERGES,
        samples: int = DEFAULT_SAMPLES,
    ) -> tuple[MixtureReport, float]:
        """What is inferred among some candidates, and in how many seconds."""
        corpus = []
        for code in codes if text else ():
            file = self._folder / f"{code}.txt"
            if not file.exists():
                file.write_text("\n".join(half(self._data, code, 1)), encoding="utf-8")
            corpus.append(f"{code}={file}")
        began = time.perf_counter()
        report = infer_mixture(
            model, langs=list(codes), corpus=corpus, seed=SEED, merges=merges, samples=samples
        )
        return report, time.perf_counter() - began


def compare(report: MixtureReport, truth: Mapping[str, float], seconds: float) -> dict[str, Any]:
    """One row: shares true and found in per cent, mean error in points, intervals that hold the truth."""
    found = {item.language: item for item in report.languages}
    shares: dict[str, Any] = {}
    for item in report.languages:
        true = next((share for code, share in truth.items() if find_language(code) == item.language), 0.0)
        shares[item.language.code] = {
            "true": round(100 * true, 2),
            "found": round(100 * item.share, 2),
            "interval": [round(100 * item.low, 2), round(100 * item.high, 2)],
        }
    return {
        "languages": len(found),
        "shares": shares,
        "mean_error_points": round(
            float(np.mean([abs(row["found"] - row["true"]) for row in shares.values()])), 3
        ),
        "largest_error_points": round(max(abs(row["found"] - row["true"]) for row in shares.values()), 3),
        "intervals_that_hold": sum(
            row["interval"][0] <= row["true"] <= row["interval"][1] for row in shares.values()
        ),
        "unexplained": round(report.unexplained, 4),
        "violation": round(report.violation, 4),
        "trust": report.trust.level,
        "merges_used": report.merges_used,
        "seconds": round(seconds, 1),
    }


def show(name: str, row: Mapping[str, Any]) -> None:
    """One line of progress."""
    print(f"{name:60}", {key: row[key] for key in row if key != "shares"}, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    asked = parser.parse_args()
    data = data_directory(asked.data)
    known: dict[str, dict[str, Any]] = {}
    others: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(data, Path(folder))
        for kind in KINDS:
            for mixture in MIXTURES:
                model, truth = bench.tokenizer(kind, mixture)
                known[f"{kind} {'+'.join(mixture)}"] = compare(*_call(bench, model, list(mixture), truth))
                show(*list(known.items())[-1])
        for kind in KINDS:
            for mixture, left_out in MISSING:
                model, truth = bench.tokenizer(kind, mixture)
                rest = {code: share for code, share in truth.items() if code != left_out}
                scaled = {code: share / sum(rest.values()) for code, share in rest.items()}
                name = f"{kind} {'+'.join(mixture)}, {left_out} not named"
                others[name] = compare(*_call(bench, model, list(rest), scaled))
                show(name, others[name])
            model, truth = bench.tokenizer(kind, MIXTURES[3])
            name = f"{kind} {'+'.join(MIXTURES[3])}, with es and uk named too"
            others[name] = compare(*_call(bench, model, [*MIXTURES[3], "es", "uk"], truth))
            show(name, others[name])
            name = f"{kind} {'+'.join(MIXTURES[3])}, from word frequencies"
            others[name] = compare(*_call(bench, model, list(MIXTURES[3]), truth, text=False))
            show(name, others[name])
    result: dict[str, Any] = {
        "name": "mixture",
        "vocabulary": SIZE,
        "training_bytes": f"at most {TRAINING_BYTES}",
        "mean_error_points": {
            str(count): round(
                float(
                    np.mean([row["mean_error_points"] for row in known.values() if row["languages"] == count])
                ),
                3,
            )
            for count in (2, 3, 5)
        },
        "wanted": "<= 3 points on average",
        "intervals_that_hold": round(
            sum(row["intervals_that_hold"] for row in known.values())
            / sum(row["languages"] for row in known.values()),
            3,
        ),
        "known_mixtures": known,
        "other_candidates": others,
        "seed": SEED,
        "machine": machine(),
        "versions": versions() | {name: version(name) for name in ("scipy", "sentencepiece")},
        "load_average_at_the_end": round(os.getloadavg()[0], 1),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(result, indent=1, ensure_ascii=False)
        (asked.out / "mixture.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")


def _call(
    bench: Bench, model: Path, codes: Sequence[str], truth: Mapping[str, float], *, text: bool = True
) -> tuple[MixtureReport, Mapping[str, float], float]:
    report, seconds = bench.infer(model, codes, text=text)
    return report, truth, seconds


if __name__ == "__main__":
    main()
