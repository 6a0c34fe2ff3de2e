from __future__ import annotations

import gzip
import hashlib
import os
import sys
from pathlib import Path

import pytest

from polycompress.corpora import LanguageFilter, Reading, find_duplicates, read_shard
from polycompress.corpora.identifying import identifier, labels_of
from polycompress.errors import InputError, MissingExtraError
from tests.corpora.fasttext_models import train_model
from tests.corpora.helpers import shards_of, texts_of, write

LABELS = {"de": "de", "sw": "swh_Latn", "ru": "rus", "zh": "zho_Hans"}


@pytest.fixture(scope="module")
def lines(data_dir: Path) -> dict[str, list[str]]:
    """Lines of four languages."""
    pytest.importorskip("fasttext")
    found = {}
    for code in LABELS:
        with gzip.open(data_dir / "text" / f"{code}.txt.gz", "rt", encoding="utf-8") as file:
            found[code] = [
                line.strip() for _, line in zip(range(900), file, strict=False) if len(line.encode()) > 40
            ]
    return found


@pytest.fixture(scope="module")
def model(lines: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that tells them apart, trained on the first half of each."""
    root = tmp_path_factory.mktemp("model")
    text = "".join(
        f"__label__{LABELS[code]} {line}\n"
        for code, found in lines.items()
        for line in found[: len(found) // 2]
    )
    options = {"dim": 8, "epoch": 10, "lr": 0.5, "minn": 1, "maxn": 3, "bucket": 5000}
    return train_model(write(root / "train.txt", text), root / "lid.bin", **options)


@pytest.mark.parametrize("code", ["deu-Latn", "swh-Latn", "rus-Cyrl", "zho-Hans"])
def test_lines_of_one_language_are_kept(
    tmp_path: Path, lines: dict[str, list[str]], model: Path, code: str
) -> None:
    rest = {name: found[len(found) // 2 :] for name, found in lines.items()}
    path = write(
        tmp_path / "a.txt", "\n".join(line for row in zip(*rest.values(), strict=False) for line in row)
    )
    wanted = set(rest[next(name for name, label in LABELS.items() if label[:2] == code[:2])])
    reading = Reading(identify=LanguageFilter(model=model, language=code))
    reader = read_shard(shards_of([path])[0], reading)
    kept = list(reader)
    asked = path.read_text().split("\n")
    right = sum(line in wanted for line in kept)
    assert right >= 0.9 * len(kept) > 0
    assert right >= 0.9 * sum(line in wanted for line in asked)
    assert len(kept) + reader.dropped["identify"] == len(asked)
    strict = Reading(identify=LanguageFilter(model=model, language=code, threshold=0.999))
    assert len(texts_of(path, strict)) < len(kept)


def test_duplicates_are_left_out_before_and_the_result_is_the_same(
    tmp_path: Path, lines: dict[str, list[str]], model: Path
) -> None:
    some = lines["de"][:40] + lines["sw"][:40]
    path = write(tmp_path / "a.txt", "\n".join(some + some[::-1]))
    shards = shards_of([path], size=3000)
    reading = Reading(identify=LanguageFilter(model=model, language="deu-Latn"))
    found = find_duplicates(shards, reading, tmp_path / "w")
    kept = [text for shard in shards for text in read_shard(shard, reading, found[shard.key()])]
    assert kept == list(dict.fromkeys(texts_of(path, reading)))


def test_the_record_names_the_model(model: Path) -> None:
    reading = Reading(identify=LanguageFilter(model=model, language="deu-Latn", threshold=0.25))
    assert reading.as_dict()["identify"] == {
        "model": "lid.bin",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "language": "deu-Latn",
        "threshold": 0.25,
    }


@pytest.mark.parametrize(
    ("code", "labels", "right"),
    [
        ("deu-Latn", ["de", "deu", "deu_Latn", "en", "German"], ["de", "deu", "deu_Latn", "German"]),
        ("srp-Latn", ["sr", "srp_Cyrl", "srp_Latn"], ["sr", "srp_Latn"]),
        ("zho-Hant", ["zh", "zho_Hans", "zho_Hant"], ["zh", "zho_Hant"]),
        ("swh-Latn", ["sw", "swa", "swh_Latn", "swc"], ["sw", "swa", "swh_Latn"]),
        ("deu-Latn", ["xx-unknown", "", "42", "kitchen"], []),
    ],
)
def test_labels_of_every_form(code: str, labels: list[str], right: list[str]) -> None:
    found = labels_of(code, tuple(f"__label__{label}" for label in labels))
    assert found == {f"__label__{label}" for label in right}


def test_a_model_that_does_not_know_the_language(model: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of its 4 labels means fra-Latn \(there are __label__de, __label__rus"
    ):
        identifier(LanguageFilter(model=model, language="fra-Latn"))


def test_files_that_are_no_model(tmp_path: Path, model: Path) -> None:
    cut = write(tmp_path / "cut.bin", model.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.bin: not a whole fastText model"):
        identifier(LanguageFilter(model=cut, language="deu-Latn"))
    os.utime(write(cut, "Guten Tag"), ns=(5, 5))
    with pytest.raises(InputError, match=r"cut\.bin: not a fastText model"):
        identifier(LanguageFilter(model=cut, language="deu-Latn"))
    with pytest.raises(InputError, match=r"fehlt\.bin: no such model file"):
        identifier(LanguageFilter(model=tmp_path / "fehlt.bin", language="deu-Latn"))


def test_without_the_library(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = write(tmp_path / "copy.bin", model.read_bytes())
    monkeypatch.setitem(sys.modules, "fasttext", None)
    with pytest.raises(MissingExtraError, match=r"Language identification needs .*polycompress\[vectors\]"):
        identifier(LanguageFilter(model=copy, language="deu-Latn"))
