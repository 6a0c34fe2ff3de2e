"""The hub door gives the same examples as the local one, and says what to do where it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polycompress.corpora import hub_reading
from polycompress.errors import InputError
from polycompress.evaluation.records import Part, Split
from polycompress.evaluation.tasks import TaskSpec, find_task, load_examples, pinned
from tests.corpora.hub_stand_in import hub_stand_in
from tests.evaluation.task_data import (
    data_directory,
    hub_directory,
    hub_rows,
    split_names,
    with_directory,
    write,
)

datasets = pytest.importorskip("datasets")

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENGLISH, GERMAN, CHINESE = Part("eng-Latn"), Part("deu-Latn"), Part("zho-Hans")
CONFIGS = {
    ("xnli", GERMAN): "de",
    ("sib200", GERMAN): "deu_Latn",
    ("ner-wikiann", GERMAN): "de",
    ("xquad", GERMAN): "xquad.de",
    ("retrieval-tatoeba", GERMAN): "deu-eng",
}
ALL: tuple[Split, ...] = ("train", "dev", "test")


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hub_reading.open_dataset.cache_clear()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield
    hub_reading.open_dataset.cache_clear()


def both_doors(task: TaskSpec, part: Part, config: str, data: Path, root: Path) -> None:
    """Write what the local door gives as a data set of the hub, and compare what the hub door gives of it."""
    rows: dict[str, list[dict[str, Any]]] = {}
    splits = [split for split in ALL if part in task.languages(split, data)]
    for split in splits:
        names = split_names(task, split)
        examples = load_examples(task, part, split, data=data)
        rows.setdefault(names[0], []).extend(hub_rows(task, examples))
    if task.kind == "question-answering":  # the paragraphs in their order, whatever their split
        rows = {
            name: sorted(all_rows, key=lambda row: int(row["context"].split(":")[0]))
            for name, all_rows in rows.items()
        }
    hub_directory(root, task, {config: rows})
    there = with_directory(task, root)
    for split in splits:
        assert load_examples(there, part, split, data=None) == load_examples(task, part, split, data=data)
    assert load_examples(there, part, "test", data=None, limit=1) == load_examples(
        task, part, "test", data=data, limit=1
    )


@pytest.mark.parametrize(("name", "part"), list(CONFIGS))
def test_both_doors_give_the_same(name: str, part: Part, tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    both_doors(find_task(name), part, CONFIGS[name, part], data, tmp_path / "hub")


def test_retrieval_takes_all_splits_and_the_pivot(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    task, topics = find_task("retrieval-sib200"), find_task("sib200")
    rows = {
        config: {
            split_names(topics, split)[0]: hub_rows(topics, load_examples(topics, part, split, data=data))
            for split in ALL
        }
        for config, part in (("deu_Latn", GERMAN), ("eng_Latn", ENGLISH))
    }
    hub_directory(tmp_path / "hub", task, rows)
    there = load_examples(with_directory(task, tmp_path / "hub"), GERMAN, "test", data=None)
    assert there == load_examples(task, GERMAN, "test", data=data)
    assert len(there) == 12


@pytest.mark.parametrize(
    ("name", "part", "config"),
    [
        ("xnli", Part("swh-Latn"), "sw"),
        ("sib200", CHINESE, "zho_Hans"),
        ("ner-wikiann", Part("jpn-Jpan"), "ja"),
        ("retrieval-tatoeba", CHINESE, "cmn-eng"),
    ],
)
def test_both_doors_on_the_data_pack(
    data_dir: Path, tmp_path: Path, name: str, part: Part, config: str
) -> None:
    both_doors(find_task(name), part, config, data_dir, tmp_path / "hub")


def test_xquad_of_the_data_pack(data_dir: Path, tmp_path: Path) -> None:
    """Paragraphs are numbered alike in both doors: contexts that follow each other differ."""
    task = find_task("xquad")
    document = json.loads(_unpacked(data_dir / "xquad" / "xquad.zh.json.gz"))
    rows = [
        {
            "id": question["id"],
            "context": paragraph["context"],
            "question": question["question"],
            "answers": {
                "text": [answer["text"] for answer in question["answers"]],
                "answer_start": [answer["answer_start"] for answer in question["answers"]],
            },
        }
        for article in document["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    hub_directory(tmp_path / "hub", task, {"xquad.zh": {"validation": rows}})
    there = with_directory(task, tmp_path / "hub")
    for split in ALL:
        assert load_examples(there, CHINESE, split, data=None) == load_examples(
            task, CHINESE, split, data=data_dir
        )


def _unpacked(path: Path) -> str:
    import gzip

    return gzip.decompress(path.read_bytes()).decode()


def refused(task: TaskSpec, message: str, part: Part = GERMAN, split: Split = "test") -> None:
    with pytest.raises(InputError, match=message):
        load_examples(task, part, split, data=None)


def test_what_the_hub_door_refuses(tmp_path: Path) -> None:
    task = find_task("sib200")
    good = {"index_id": 1, "text": "a", "category": "travel"}
    for number, (row, message) in enumerate(
        (
            ({"index_id": 1, "text": "a"}, "row 1: there is no column 'category' .found: index_id, text"),
            (good | {"text": " "}, "row 1: the text is empty"),
            (good | {"text": None}, "row 1: the text is None, not text"),
            (good | {"category": "weather"}, "'weather' is none of the task's labels"),
        )
    ):
        hub_directory(tmp_path / str(number), task, {"deu_Latn": {"test": [row]}})
        refused(with_directory(task, tmp_path / str(number)), message)
    hub_directory(tmp_path / "splits", task, {"deu_Latn": {"train": [good]}})
    refused(
        with_directory(task, tmp_path / "splits"),
        "there is no split 'test'.* --data DIR or POLYCOMPRESS_DATA",
    )
    refused(task, "mteb/sib200: no test examples in xyz", Part("xyz"))
    ner = find_task("ner-wikiann")
    for number, (tags, message) in enumerate(
        (
            ([0, 2], "row 1, word 2: I-PER follows O"),
            ([0, 9], "class number 9; the task's file names 0 to 6"),
            ([0], "2 words and 1 tags"),
        )
    ):
        hub_directory(
            tmp_path / f"n{number}", ner, {"de": {"test": [{"tokens": ["a", "b"], "ner_tags": tags}]}}
        )
        refused(with_directory(ner, tmp_path / f"n{number}"), message)
    hub_directory(tmp_path / "nt", ner, {"de": {"test": [{"tokens": "ab", "ner_tags": [0, 0]}]}})
    refused(with_directory(ner, tmp_path / "nt"), "row 1: the words are 'ab', not a list")
    xquad = find_task("xquad")
    row = {"id": "1", "context": "a", "question": "b", "answers": ["c"]}
    hub_directory(tmp_path / "x", xquad, {"xquad.de": {"validation": [row]}})
    refused(
        with_directory(xquad, tmp_path / "x"), r"\['c'\] is no list of answers with text and answer_start"
    )


def test_a_program_is_not_run(tmp_path: Path) -> None:
    write(tmp_path / "o" / "o.py", "raise SystemExit('it was run')\n")
    refused(with_directory(find_task("sib200"), tmp_path / "o"), "cannot be opened|found")


def test_no_hub_door_and_no_revision() -> None:
    refused(
        find_task("ner-uner"),
        r"not read from the hub \(universalner/universal_ner is a program.* Give a data directory",
    )
    unpinned = find_task("nli-americas")
    message = (
        r"no revision of this data set is known.* Give a data directory that holds nli/americasnli/.* "
        r"Or name a commit, 40 hexadecimal digits, under revision"
    )
    refused(unpinned, message, Part("quy-Latn"))
    refused(pinned(unpinned, COMMIT), f"americas_nli@{COMMIT}:quy#test.*--data DIR", Part("quy-Latn"))
    with pytest.raises(InputError, match="revision 'main' is no commit: write 40 hexadecimal digits"):
        pinned(unpinned, "main")


def test_the_hub_cannot_be_reached() -> None:
    """Tests run offline."""
    refused(
        find_task("xnli"),
        r"facebook/xnli@b8dd.*Give a data directory that holds nli/wikinli/train.*--data DIR",
    )


SCRIPT = """
import dataclasses, json, sys
from pathlib import Path
from polycompress.evaluation.records import Part
from polycompress.evaluation.tasks import find_task, load_examples, pinned
task = pinned(find_task("sib200"), sys.argv[1])
examples = load_examples(task, Part("deu-Latn"), "test", data=None)
assert examples == load_examples(task, Part("deu-Latn"), "test", data=Path(sys.argv[2]))
print(json.dumps([example.text for example in examples]))
"""


@pytest.mark.integration
def test_over_http(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    task = find_task("sib200")
    rows = {"deu_Latn": {"test": hub_rows(task, load_examples(task, GERMAN, "test", data=data))}}
    files = hub_directory(tmp_path / "hub", task, rows)
    served = {name: text.encode() for name, text in files.items()}
    with hub_stand_in("mteb/sib200", COMMIT, served) as (address, asked):
        environment = {
            key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")
        } | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        command = [sys.executable, "-c", SCRIPT, COMMIT, str(data)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["deu_Latn text 10", "deu_Latn text 11"]
    assert any(COMMIT in path and path.endswith("deu_Latn/test.jsonl") for path in asked)
