from __future__ import annotations

from pathlib import Path

import pytest

from polycompress import resources
from polycompress.errors import StorageError


def test_data_of_a_checkout() -> None:
    root = Path(__file__).parent.parent
    assert resources.data_path("languages") == root / "languages"
    assert resources.data_path("eval") == root / "eval"


def test_data_of_a_wheel_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "polycompress" / "_data" / "languages"
    for directory in (inside, tmp_path / "languages", tmp_path / "eval"):
        directory.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "polycompress")
    assert resources.data_path("languages") == inside
    assert resources.data_path("eval") == tmp_path / "eval"


def test_incomplete_installation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "polycompress")
    with pytest.raises(
        StorageError, match=r"no data directory 'eval' \(looked at .*_data/eval and .*\)\. Reinstall"
    ):
        resources.data_path("eval")
