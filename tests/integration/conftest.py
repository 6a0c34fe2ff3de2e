"""What the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.pipelines.trimming import gathering


@pytest.fixture
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Word lists cut short in this process, and a cache for whatever else counts them."""
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("RUST_BACKTRACE", "0")


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The directory that a command may write to, watched for leftovers."""
    path = tmp_path / "desk"
    path.mkdir()
    return path
