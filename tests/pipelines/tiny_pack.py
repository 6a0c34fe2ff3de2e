"""A data directory with a few examples of each kind of task, laid out as the data pack is."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.tiny_models import TEXTS

CATEGORIES = (
    "entertainment", "geography", "health", "politics", "science/technology", "sports", "travel",
)  # fmt: skip
INFERENCES = ("entailment", "neutral", "contradiction")


def make_pack(root: Path, examples: int = 14) -> Path:
    """Write ``sib200``, ``nli/sick``, ``ner/wikiann``, ``ner/uner``, ``xquad``, ``parallel`` and ``lexicons``."""
    for code in ("eng_Latn", "deu_Latn", "swh_Latn"):
        _table(
            root / "sib200" / f"{code}.tsv",
            ["index_id", "split", "category", "text"],
            _topics(code, examples),
        )
    for code in ("en", "nl"):
        for split in ("train", "dev", "test"):
            _table(
                root / "nli" / "sick" / f"{split}.{code}.tsv",
                ["language", "gold_label", "sentence1", "sentence2", "pairID", "relatedness_score"],
                [[code, INFERENCES[n % 3], _text(n), _text(n + n % 3), str(n), "1"] for n in range(examples)],
            )
    for name in (
        "wikiann/test.en",
        "wikiann/test.sw",
        "wikiann/train.en",
        "uner/test.sv_pud",
        "uner/test.sv_talbanken",
    ):
        _sentences(root / "ner" / f"{name}.conll", examples)
    for code in ("en", "de"):
        _questions(root / "xquad" / f"xquad.{code}.json")
    for code in ("deu", "swh"):
        rows = [[TEXTS[n % 16] + f" {n}", f"{TEXTS[(n + 1) % 16]} {n}"] for n in range(examples)]
        _table(root / "parallel" / "tatoeba" / f"{code}-eng.tsv", [code, "eng"], rows)
    pairs = [
        ["dog", "Hund"],
        ["cat", "Katze"],
        ["cat", "Kater"],
        ["house", "Haus"],
        ["tree", "Baum"],
        ["sea", "Meer"],
    ]
    _table(root / "lexicons" / "en-de.test.tsv", ["en", "de"], pairs)
    return root


def _topics(code: str, examples: int) -> list[list[str]]:
    return [
        [str(n), split, CATEGORIES[n % 7], f"{_text(n)} {code} {split}"]
        for split in ("train", "dev", "test")
        for n in range(examples)
    ]


def _text(number: int) -> str:
    return TEXTS[number % len(TEXTS)]


def _table(path: Path, head: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in [head, *rows]), encoding="utf-8")


def _sentences(path: Path, examples: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(path.name)
    lines = []
    for number in range(examples):
        words = _text(number).split()
        begin = draw.randrange(len(words))
        tags = ["O"] * len(words)
        tags[begin] = "B-PER"
        if begin + 1 < len(words):
            tags[begin + 1] = "I-PER"
        lines += [f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)] + ["\n"]
    path.write_text("".join(lines), encoding="utf-8")


def _questions(path: Path) -> None:
    paragraphs = []
    for number, text in enumerate(TEXTS):
        answer = text.split()[0]
        asked = [
            {"id": f"{number}-{k}", "question": "Who?", "answers": [{"text": answer, "answer_start": 0}]}
            for k in range(2)
        ]
        paragraphs.append({"context": text, "qas": asked})
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(document), encoding="utf-8")
