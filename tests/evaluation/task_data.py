"""A data directory with a few examples of every task that both doors have, and the same as data sets of the hub."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polycompress.evaluation.records import (
    Example,
    QuestionExample,
    SentencePair,
    Split,
    TextExample,
    WordsExample,
)
from polycompress.evaluation.tasks import TaskSpec

NLI = "language\tgold_label\tsentence1\tsentence2\tpromptID\tpairID\tgenre\n"
WORDS = ["Karl", "wohnt", "in", "Berlin"]
TAGS = ["B-PER", "O", "O", "B-LOC"]
CONTEXT = "Berlin liegt an der Spree. Die Spree ist ein Fluss."


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def nli_file(path: Path, rows: Sequence[tuple[str, str, str]], first: int = 1) -> Path:
    """``rows``: label, premise, hypothesis."""
    lines = (
        f"x\t{label}\t{one}\t{two}\t1\t{number}\tg\n" for number, (label, one, two) in enumerate(rows, first)
    )
    return write(path, NLI + "".join(lines))


def sib_file(path: Path, language: str, rows: int = 12) -> Path:
    splits = ["train"] * (rows - 4) + ["dev"] * 2 + ["test"] * 2
    labels = ["travel", "sports", "science/technology"]
    lines = (f"{10 * n}\t{split}\t{labels[n % 3]}\t{language} text {n}\n" for n, split in enumerate(splits))
    return write(path, "index_id\tsplit\tcategory\ttext\n" + "".join(lines))


def conll_file(path: Path, sentences: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Path:
    blocks = (
        "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"
        for words, tags in sentences
    )
    return write(path, "".join(blocks))


def squad_file(path: Path, paragraphs: int = 60) -> Path:
    def paragraph(number: int) -> dict[str, Any]:
        context = f"{number}: {CONTEXT}"
        questions = [
            {
                "id": f"{number}-{place}",
                "question": f"Frage {place}?",
                "answers": [{"text": "Spree", "answer_start": context.index("Spree", 25 * place)}],
            }
            for place in range(2)
        ]
        return {"context": context, "qas": questions}

    whole = [{"title": "a", "paragraphs": [paragraph(n) for n in range(paragraphs)]}]
    return write(path, json.dumps({"version": "1.1", "data": whole}))


def data_directory(root: Path) -> Path:
    """Some of every task, in German and Turkish or English."""
    labels = ("entailment", "neutral", "contradiction")
    for split in ("dev", "test"):
        for code in ("en", "de"):
            rows = [(labels[n % 3], f"{split} premise {n} {code}", f"hypothesis {n}") for n in range(5)]
            nli_file(root / "nli" / "xnli" / f"{split}.{code}.tsv.gz", rows)
    for split in ("train", "test"):
        rows = [(labels[n % 3], f"wiki {split} {n}", f"hypothesis {n}") for n in range(4)]
        nli_file(root / "nli" / "wikinli" / f"{split}.en.tsv.gz", rows, first=100)
    for language in ("eng_Latn", "deu_Latn", "zho_Hans"):
        sib_file(root / "sib200" / f"{language}.tsv", language)
    for split in ("train", "dev", "test"):
        sentences = [(WORDS, TAGS), ([split, *WORDS], ["O", *TAGS])]
        conll_file(root / "ner" / "wikiann" / f"{split}.de.conll.gz", sentences)
    for code in ("en", "de"):
        squad_file(root / "xquad" / f"xquad.{code}.json.gz")
    pairs = "".join(f"Satz {n}\tsentence {n}\n" for n in range(3))
    write(root / "parallel" / "tatoeba" / "deu-eng.tsv.gz", f"deu\teng\n{pairs}")
    for code, word in (("en", "sentence"), ("zh", "句子"), ("fr", "phrase")):
        lines = "".join(f"n{n}\t{word} {n}\n" for n in range(3))
        write(root / "parallel" / "pud" / f"{code}.tsv", f"sent_id\ttext\n{lines}")
    for split in ("train", "test"):
        rows_of_words = f"the\tder\nthe\tdie\n{split}\tWort\nthe\tder\n"
        write(root / "lexicons" / f"en-de.{split}.tsv.gz", f"en\tde\n{rows_of_words}")
    return root


def hub_rows(task: TaskSpec, examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Examples as a data set of the hub holds them: by its column names, classes as numbers where it has them so."""
    assert task.hub is not None
    columns, names = task.hub.columns, task.hub.names

    def number(label: int) -> int | str:
        return names.index(task.labels[label]) if names else task.labels[label]

    def values(example: Example) -> dict[str, Any]:
        match example:
            case TextExample():
                return {
                    "key": example.key,
                    "text": example.text,
                    "second": example.second,
                    "label": number(example.label),
                }
            case WordsExample():
                return {"words": list(example.words), "tags": [number(tag) for tag in example.tags]}
            case QuestionExample():
                answers = example.answers
                spans = {
                    "text": [answer.text for answer in answers],
                    "answer_start": [answer.start for answer in answers],
                }
                return {
                    "key": example.key,
                    "context": example.context,
                    "question": example.question,
                    "answers": spans,
                }
            case SentencePair():
                return {"key": example.key, "text": example.text, "pivot": example.pivot}
            case _:
                raise AssertionError(example)

    return [
        {columns[name]: value for name, value in values(example).items() if name in columns}
        for example in examples
    ]


def hub_directory(
    root: Path, task: TaskSpec, rows: dict[str, dict[str, list[dict[str, Any]]]]
) -> dict[str, str]:
    """Files of a data set without a program, by name: ``rows`` by configuration and split of the hub."""
    files: dict[str, str] = {}
    card = ["---", "configs:"]
    for config, splits in rows.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, records in splits.items():
            name = f"{config}/{split}.jsonl"
            card += [f"  - split: {split}", f"    path: {name}"]
            files[name] = "".join(json.dumps(record) + "\n" for record in records)
    files["README.md"] = "\n".join([*card, "---", ""])
    for name, text in files.items():
        write(root / name, text)
    return files


def with_directory(task: TaskSpec, directory: Path) -> TaskSpec:
    """The task whose hub door reads a local directory in the hub's layout."""
    assert task.hub is not None
    return dataclasses.replace(task, hub=dataclasses.replace(task.hub, dataset=str(directory), revision=None))


def split_names(task: TaskSpec, split: Split) -> tuple[str, ...]:
    assert task.hub is not None
    return task.hub.splits[split]
