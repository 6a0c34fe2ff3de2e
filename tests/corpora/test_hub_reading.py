from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polycompress.corpora import (
    DamagedShardError,
    DatasetSpec,
    Reading,
    Shard,
    make_shards,
    parse_corpora,
    read_shard,
)
from polycompress.corpora import hub_reading as module
from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.languages import find_languages
from tests.corpora.helpers import write

datasets = pytest.importorskip("datasets")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module.open_dataset.cache_clear()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield
    module.open_dataset.cache_clear()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data set without a script: three files of training, one of test."""
    root = tmp_path / "saetze"
    for number in range(3):
        lines = (json.dumps({"id": n, "text": f"Satz {number} {n}"}) + "\n" for n in range(1500))
        write(root / "data" / f"train-{number:05}.jsonl", "".join(lines))
    write(root / "data" / "test-00000.jsonl", '{"id": 1, "text": "Probe"}\n{"id": 2, "text": null}\n')
    return root


def shards_of(text: str, reading: Reading | None = None) -> tuple[Shard, ...]:
    (spec,) = parse_corpora([text], find_languages("de"), datasets=True)
    return make_shards(spec, reading or Reading())


def test_a_directory_is_streamed_part_by_part(directory: Path) -> None:
    shards = shards_of(f"hf://{directory}")
    assert [shard.name for shard in shards] == [f"hf://{directory}#train"] * 3
    assert len({shard.key() for shard in shards}) == 3
    assert pickle.loads(pickle.dumps(shards)) == shards
    readers = [read_shard(shard, Reading()) for shard in shards]
    for number, reader in enumerate(readers):
        assert list(reader) == [f"Satz {number} {n}" for n in range(1500)]
    assert readers[1].provenance() == {
        "name": f"hf://{directory}#train",
        "dataset": str(directory),
        "revision": None,
        "config": None,
        "split": "train",
        "part": 1,
    }


def test_a_directory_below_here(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory.parent)
    (shard,) = shards_of("hf://./saetze#test")
    reader = read_shard(shard, Reading())
    assert list(reader) == ["Probe"]
    assert reader.dropped == {"empty": 1}


def test_it_is_the_same_as_loading_it(directory: Path) -> None:
    loaded = datasets.load_dataset(str(directory), split="train", streaming=True)
    texts = [text for shard in shards_of(f"hf://{directory}") for text in read_shard(shard, Reading())]
    assert texts == [row["text"] for row in loaded]


def test_configurations_and_formats(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    root = tmp_path / "d"
    for code, word in (("de", "hallo, du"), ("sw", "jambo")):
        (root / code).mkdir(parents=True)
        parquet.write_table(pyarrow.table({"satz": [word]}), root / code / "train.parquet")
    write(
        root / "README.md",
        "---\nconfigs:\n"
        + "".join(f"- config_name: {c}\n  data_files: {c}/*\n" for c in ("de", "sw"))
        + "---\n",
    )
    (shard,) = shards_of(f"hf://{root}:sw", Reading(field="satz"))
    assert list(read_shard(shard, Reading(field="satz"))) == ["jambo"]
    with pytest.raises(InputError, match=r"Config name is missing.*\['de', 'sw'\]"):
        shards_of(f"hf://{root}")
    with pytest.raises(InputError, match="BuilderConfig 'xx' not found"):
        shards_of(f"hf://{root}:xx")
    write(tmp_path / "csv" / "train.csv", 'id,text\n1,"hallo, du"\n')
    (shard,) = shards_of(f"hf://{tmp_path}/csv")
    assert list(read_shard(shard, Reading())) == ["hallo, du"]


def test_wrong_requests(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no split 'dev' \(found: train, test\)"):
        shards_of(f"hf://{directory}#dev")
    (shard,) = shards_of(f"hf://{directory}#test")
    with pytest.raises(InputError, match=r"there is no field 'satz' \(found: id, text\)"):
        list(read_shard(shard, Reading(field="satz")))
    with pytest.raises(InputError, match="the field 'id' holds int64, not text"):
        list(read_shard(shard, Reading(field="id")))
    (tmp_path / "leer").mkdir()
    with pytest.raises(InputError, match="doesn't contain any data files"):
        shards_of(f"hf://{tmp_path}/leer")
    for name in ("test", "validation"):
        write(tmp_path / "zwei" / f"{name}.jsonl", '{"text": "a"}\n')
    with pytest.raises(InputError, match=r"which split\? Add #NAME \(found: validation, test\)"):
        shards_of(f"hf://{tmp_path}/zwei")
    write(tmp_path / "bilder" / "a.tar", b"")
    with pytest.raises(
        InputError, match="its files are of the kind webdataset; arrow, csv, json, parquet, text"
    ):
        shards_of(f"hf://{tmp_path}/bilder")


def test_a_script_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "gelaufen"
    write(tmp_path / "boese" / "boese.py", f"open({str(marker)!r}, 'w').close()\n")
    with pytest.raises(InputError, match="the data set cannot be opened"):
        shards_of(f"hf://{tmp_path}/boese")
    assert not marker.exists()


@pytest.mark.parametrize("link", [False, True])
def test_files_elsewhere_are_not_read(tmp_path: Path, link: bool) -> None:
    secret = write(tmp_path / "geheim" / "geheim.jsonl", '{"text": "geheim"}\n')
    root = tmp_path / "d"
    write(root / "README.md", "---\nconfigs:\n- config_name: a\n  data_files: ../geheim/geheim.jsonl\n---\n")
    if link:
        (root / "README.md").unlink()
        (root / "train.jsonl").symlink_to(secret)
    with pytest.raises(InputError, match=r"it names a file outside of itself, .*; it is not read"):
        shards_of(f"hf://{root}")


def test_the_links_of_the_hub_cache_are_followed(tmp_path: Path) -> None:
    root = tmp_path / "datasets--o--n"
    blob = write(root / "blobs" / "abc", '{"text": "da"}\n')
    (root / "snapshots" / COMMIT).mkdir(parents=True)
    (root / "snapshots" / COMMIT / "train.jsonl").symlink_to(blob)
    (shard,) = shards_of(f"hf://{root}/snapshots/{COMMIT}")
    assert list(read_shard(shard, Reading())) == ["da"]


def test_damage_in_the_middle(directory: Path) -> None:
    path = directory / "data" / "train-00001.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    first, second, third = shards_of(f"hf://{directory}")
    with pytest.raises(
        DamagedShardError, match=r"#train: part 1, row 0: the data set cannot be read on"
    ) as caught:
        list(read_shard(second, Reading()))
    assert (caught.value.shard, caught.value.position) == (second, "part 1, row 0")
    assert [len(list(read_shard(shard, Reading()))) for shard in (first, third)] == [1500, 1500]


def test_a_directory_that_changes_is_another_one(directory: Path) -> None:
    before = shards_of(f"hf://{directory}#test")
    os.utime(directory / "data" / "test-00000.jsonl", ns=(1, 1))
    assert shards_of(f"hf://{directory}#test")[0].key() != before[0].key()
    with pytest.raises(InputError, match="has changed since its shards were cut"):
        list(read_shard(before[0], Reading()))


def test_a_revision_that_is_no_commit_is_refused_with_the_one_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Found:
        sha = COMMIT

    asked = []
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "dataset_info",
        lambda self, *names, **rest: (asked.append((*names, rest)), Found())[1],
    )
    with pytest.raises(InputError, match=rf"none is named: main is now {COMMIT}; write hf://o/n@{COMMIT}\."):
        module.open_dataset(DatasetSpec("o/n"))
    with pytest.raises(InputError, match=rf"'v1' is no commit: v1 is now {COMMIT}"):
        module.open_dataset(DatasetSpec("o/n", "v1"))
    assert [(name, rest["revision"]) for name, rest in asked] == [("o/n", None), ("o/n", "v1")]


def test_without_the_network() -> None:
    with pytest.raises(
        InputError, match=r"none is named: the hub could not be asked for it: .*with 40 digits"
    ):
        module.open_dataset(DatasetSpec("o/n"))
    with pytest.raises(PolycompressError, match="the hub does not answer or does not have it") as caught:
        module.open_dataset(DatasetSpec("o/n", COMMIT))
    assert caught.value.exit_code == 1


def test_the_network_fails_in_the_middle(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shard,) = shards_of(f"hf://{directory}#test")
    monkeypatch.setattr(module, "_tables", lambda *_: iter([ConnectionError("weg")]))
    with pytest.raises(PolycompressError, match=r"part 0, row 0: the hub does not answer \(weg\)") as caught:
        list(read_shard(shard, Reading()))
    assert caught.value.exit_code == 1


def test_files_of_another_repository_are_not_read() -> None:
    spec = DatasetSpec("o/n", COMMIT)
    module._inside(spec, [f"hf://datasets/o/n@{COMMIT}/a/b.parquet"])
    for name in (
        "/etc/passwd",
        f"hf://datasets/o/m@{COMMIT}/a",
        f"hf://datasets/o/n@{COMMIT}/../x",
        "https://x/y",
    ):
        with pytest.raises(InputError, match="it names a file outside of itself"):
            module._inside(spec, [name])


def test_without_the_library(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"Reading hf:// data sets needs .*polycompress\[train\]"):
        shards_of(f"hf://{directory}")
