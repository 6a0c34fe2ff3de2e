from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.modeldir.manifest import (
    MANIFEST_FILE,
    MAX_IDS,
    pack_ids,
    read_manifest,
    unpack_ids,
    write_manifest,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = {
        "tool": {"name": "polycompress", "version": "1"},
        "command": ["polycompress", "trim", Path("a b"), "\udcff"],
        "languages": [{"code": "deu-Latn", "name": "Deutsch – ä"}],
        "kept_ids": pack_ids(np.array([0, 1, 2, 9])),
        "seed": None,
        "numbers": [np.int64(3), np.float32(0.5), np.bool_(True), float("nan"), float("inf"), 1.5],
        "array": np.arange(4).reshape(2, 2),
        "set": {"b", "a"},
        "tuple": (1, 2),
        "empty": {},
    }
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == {
        **manifest,
        "schema": 1,
        "command": ["polycompress", "trim", "a b", "\udcff"],
        "numbers": [3, 0.5, True, None, None, 1.5],
        "array": [[0, 1], [2, 3]],
        "set": ["a", "b"],
        "tuple": [1, 2],
    }


def test_the_file_is_for_people_too(tmp_path: Path) -> None:
    packed = pack_ids(np.arange(0, 4000, 2))
    write_manifest(
        tmp_path, {"kept_ids": packed, "kept_rules": {"special": packed}, "languages": [{"a": 1}, {"b": 2}]}
    )
    lines = (tmp_path / MANIFEST_FILE).read_text().splitlines()
    assert lines[0] == "{"
    assert lines[1] == '  "schema": 1,'
    assert len(lines) == 11
    assert lines[-4:] == ['    {"a":1},', '    {"b":2}', "  ]", "}"]


def test_what_has_no_meaning_in_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold a bytes: b'x'"):
        write_manifest(tmp_path, {"a": [b"x"]})
    with pytest.raises(ValueError, match="schema 1, not 2"):
        write_manifest(tmp_path, {"schema": 2})
    assert not (tmp_path / MANIFEST_FILE).exists()


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "polycompress.json: line 1"),
        ("[]", "a JSON list, not an object"),
        ("{}", "'schema' is None, not a version number"),
        ('{"schema": "1"}', "'schema' is '1'"),
        ('{"schema": true}', "'schema' is True"),
        ('{"schema": 0}', "'schema' is 0"),
        ('{"schema": 2}', "schema 2 is newer than this version of polycompress reads"),
        ('{"schema": 1, "languages": {}}', "'languages' is of type dict"),
        ('{"schema": 1, "pad_rows": "3"}', "'pad_rows' is of type str"),
        ('{"schema": 1, "certificate": []}', "'certificate' is of type list"),
        ('{"schema": 1, "kept_ids": [[0]]}', "'kept_ids': must be a list of runs"),
        ('{"schema": 1, "kept_ids": [[5, 2], [6, 1]]}', "'kept_ids': the runs overlap"),
    ],
)
def test_a_broken_manifest_is_refused(tmp_path: Path, document: str, message: str) -> None:
    (tmp_path / MANIFEST_FILE).write_text(document)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


@given(st.sets(st.integers(0, 300)))
def test_packing_and_unpacking_are_inverse(ids: set[int]) -> None:
    array = np.array(sorted(ids), np.int64)
    packed = pack_ids(array)
    assert np.array_equal(unpack_ids(json.loads(json.dumps(packed))), array)
    assert sum(length for _, length in packed) == len(ids)
    assert all(first + length < second for (first, length), (second, _) in pairwise(packed))


@pytest.mark.parametrize("ids", [[1, 1], [2, 1], [-1, 0]])
def test_only_increasing_ids_are_packed(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        pack_ids(np.array(ids))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ({}, "must be a list of runs"),
        ([[0, 0]], "must be a list of runs"),
        ([[-1, 2]], "must be a list of runs"),
        ([[0, 1.0]], "must be a list of runs"),
        ([[0, True]], "must be a list of runs"),
        ([[2**70, 1]], "must be a list of runs"),
        ([[0, 3], [2, 1]], "overlap or are out of order"),
        ([[5, 1], [1, 1]], "overlap or are out of order"),
        ([[0, MAX_IDS], [MAX_IDS, 1]], "more than any vocabulary has"),
        ([[0, 2**61]], "more than any vocabulary has"),
    ],
)
def test_runs_from_elsewhere_are_checked(packed: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unpack_ids(packed)
