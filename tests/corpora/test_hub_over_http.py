from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpora.hub_stand_in import hub_stand_in

pytest.importorskip("datasets")
pytestmark = pytest.mark.integration

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
from polycompress.corpora import Reading, make_shards, parse_corpora, read_shard
from polycompress.errors import PolycompressError
from polycompress.languages import find_languages
try:
    (spec,) = parse_corpora([sys.argv[1]], find_languages("de"), datasets=True)
    readers = [read_shard(shard, Reading()) for shard in make_shards(spec, Reading())]
    print(json.dumps({"texts": [list(reader) for reader in readers], "read": [r.provenance() for r in readers]}))
except PolycompressError as error:
    print(json.dumps({"error": str(error), "code": error.exit_code}))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[str, list[str]]]:
    files = {
        f"data/{split}-0000{part}-of-00002.jsonl": "".join(
            json.dumps({"id": n, "text": f"{split} {part} {n}"}) + "\n" for n in range(1200)
        ).encode()
        for split in ("train", "test")
        for part in (0, 1)
    }
    with hub_stand_in("o/n", COMMIT, {"README.md": b"---\nlicense: mit\n---\n", **files}) as served:
        yield served


def asked(address: str, spec: str, tmp_path: Path) -> dict[str, Any]:
    """What a process of its own reads: the libraries look at the environment when they are imported."""
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")} | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-c", SCRIPT, spec]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_data_set_at_a_commit_is_streamed(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    address, paths = hub
    result = asked(address, f"hf://o/n@{COMMIT}#test", tmp_path)
    assert result["texts"] == [[f"test {part} {n}" for n in range(1200)] for part in (0, 1)]
    assert [(read["revision"], read["part"]) for read in result["read"]] == [(COMMIT, 0), (COMMIT, 1)]
    assert not [path for path in paths if path.endswith("train-00001-of-00002.jsonl")]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_branch_is_refused_and_its_commit_named(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    result = asked(hub[0], "hf://o/n@main", tmp_path)
    assert f"'main' is no commit: main is now {COMMIT}; write hf://o/n@{COMMIT}." in result["error"]
    assert result["code"] == 2


def test_a_data_set_that_is_not_there(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    result = asked(hub[0], f"hf://o/fehlt@{COMMIT}", tmp_path)
    assert result["code"] == 1
    assert "o/fehlt" in result["error"]


def test_a_data_set_with_a_script_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    script = f"open({str(marker)!r}, 'w').close()\n".encode()
    with hub_stand_in("o/n", COMMIT, {"n.py": script, "train.jsonl": b'{"text": "a"}\n'}) as (address, _):
        result = asked(address, f"hf://o/n@{COMMIT}", tmp_path)
    assert result["code"] == 2
    assert "the data set cannot be opened (Dataset scripts are no longer supported" in result["error"]
    assert not marker.exists()
