"""The counts file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.vocab import counts
from polycompress.vocab.counts import Counts, LanguageCounts, load_counts, save_counts


def _counts(texts: tuple[str, ...] | None = ("drei Wörter", "zwei")) -> Counts:
    return Counts(
        tokenizer_sha256="ab" * 32,
        vocab_size=10,
        languages={
            "deu-Latn": LanguageCounts(
                ids=np.array([1, 4, 7]),
                counts=np.array([5, 1, 2]),
                texts=3,
                characters=30,
                bytes=31,
                seen_once=1,
                source={"kind": "corpus", "files": [{"name": "a.txt"}]},
                held_out=(np.array([1, 4]), np.array([9])),
                held_out_texts=texts,
            ),
            "swh-Latn": LanguageCounts(
                ids=np.array([2]), counts=np.array([0.25]), texts=0, characters=0, bytes=0, seen_once=None
            ),
        },
    )


@pytest.mark.parametrize("texts", [("drei Wörter", "zwei"), None], ids=["with texts", "without texts"])
def test_what_is_saved_is_loaded(tmp_path: Path, texts: tuple[str, ...] | None) -> None:
    save_counts(_counts(texts), tmp_path / "c.npz")
    loaded = load_counts(tmp_path / "c.npz")
    german, expected = loaded.languages["deu-Latn"], _counts(texts).languages["deu-Latn"]
    assert loaded.tokenizer_sha256 == "ab" * 32
    assert german.ids.tolist() == [1, 4, 7]
    assert german.counts.tolist() == [5, 1, 2]
    assert german.counts.dtype == np.int64
    assert german.dense(10).tolist() == [0, 5, 0, 0, 1, 0, 0, 2, 0, 0]
    assert german.tokens == 8
    assert [ids.tolist() for ids in german.held_out] == [[1, 4], [9]]
    assert german.held_out_texts == texts
    assert (german.texts, german.characters, german.bytes, german.seen_once) == (3, 30, 31, 1)
    assert dict(german.source) == dict(expected.source)
    swahili = loaded.languages["swh-Latn"]
    assert swahili.seen_once is None
    assert swahili.held_out == ()
    assert swahili.counts.dtype == np.float64


def _rewrite(path: Path, **changes: object) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    meta = json.loads(arrays["meta"].tobytes())
    meta.update({key: value for key, value in changes.items() if key in meta})
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    for key, value in changes.items():
        if key not in meta:
            arrays[key.replace("__", "/").replace("deu", "deu-Latn")] = np.asarray(value)
    np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "schema 99, but this version reads 1"),
        ({"deu__ids": [4, 1, 7]}, "ids are not increasing"),
        ({"deu__ids": [1, 4, 70]}, "below 10"),
        ({"deu__ids": [1, 4]}, "do not fit"),
        ({"deu__counts": [1.0, float("nan"), 2.0]}, "not finite"),
        ({"deu__counts": [1, -1, 2]}, "below zero"),
        ({"deu__held_lengths": [2, 5]}, "do not add up"),
        ({"deu__held_lengths": [5, -2]}, "do not add up"),
        ({"deu__held_ids": [1, 4, 10]}, "held-out texts are not numbers below 10"),
        ({"deu__held_ids": [-1, 4, 9]}, "held-out texts are not numbers below 10"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "c.npz"
    save_counts(_counts(), path)
    _rewrite(path, **changes)
    with pytest.raises(InputError, match=message):
        load_counts(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such counts file"):
        load_counts(tmp_path / "none.npz")
    for content in (b"", b"PK\x03\x04 not a zip", b"\x93NUMPY"):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match="not a readable counts file"):
            load_counts(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"", b"some text\n", b"\x80\x04K\x01."])
def test_what_is_no_archive_gets_our_own_advice(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.npz"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"text\.npz: .* no \.npz archive; give what `polycompress count` wrote$"
    ):
        load_counts(path)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", meta=np.array([{"schema": 1}], dtype=object))
    with pytest.raises(InputError, match="not a readable counts file"):
        load_counts(tmp_path / "evil.npz")


def test_no_damage_to_a_file_raises_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    save_counts(_counts(), path)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            load_counts(path)
        except InputError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > len(whole) / 7 / 3


def test_what_is_no_file_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path / "pipe.npz", tmp_path):
        with pytest.raises(InputError, match=f"{path}: no such counts file"):
            load_counts(path)


def test_what_unpacks_to_more_than_memory_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.npz"
    save_counts(_counts(), path)
    monkeypatch.setattr(counts, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(InputError, match="unpacks to more than 100 bytes"):
        load_counts(path)
