"""Hashes remembered between runs: never a wrong one, whatever happens to the file or the note."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.modeldir import hashes
from polycompress.modeldir.hashes import remembered_sha256

LONG_AGO = 1_600_000_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "REMEMBERED_BYTES", 4)
    monkeypatch.setattr(hashes, "SETTLED_NS", -60_000_000_000)  # files made in a test count as settled
    path = tmp_path / "weights"
    path.write_bytes(b"some weights")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").rglob("*.json"))


def test_the_second_time_the_file_is_not_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remembered_sha256(file)
    assert first == digest(file)
    assert len(notes(tmp_path)) == 1

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(hashes, "sha256_file", refuse)
    assert remembered_sha256(file) == first
    link = tmp_path / "link"
    link.symlink_to(file)
    assert remembered_sha256(link) == first


def test_a_change_that_keeps_size_and_time_is_seen(file: Path) -> None:
    os.utime(file, (LONG_AGO, LONG_AGO))
    first = remembered_sha256(file)
    time.sleep(0.02)  # a tick of the file system's clock
    file.write_bytes(b"more weights")
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert remembered_sha256(file) == digest(file) != first


def test_another_file_in_its_place_is_seen(file: Path, tmp_path: Path) -> None:
    remembered_sha256(file)
    other = tmp_path / "other"
    other.write_bytes(b"new! weights")
    other.replace(file)
    assert remembered_sha256(file) == digest(file)


def test_a_file_that_was_just_written_is_not_remembered(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "SETTLED_NS", 2_000_000_000)
    assert remembered_sha256(file) == digest(file)
    assert notes(tmp_path) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"state": 1, "sha256": "x"}', b"[" * 100_000]
)
def test_a_damaged_note_is_written_anew(file: Path, tmp_path: Path, content: bytes) -> None:
    first = remembered_sha256(file)
    (note,) = notes(tmp_path)
    whole = note.read_bytes()
    note.write_bytes(content)
    assert remembered_sha256(file) == first
    assert note.read_bytes() == whole


def test_small_files_leave_no_note(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "REMEMBERED_BYTES", 1000)
    assert remembered_sha256(file) == digest(file)
    assert notes(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_done_without(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "a file"))
    assert remembered_sha256(file) == digest(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        remembered_sha256(tmp_path / "missing")
