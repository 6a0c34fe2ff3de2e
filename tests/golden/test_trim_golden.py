"""The default choice of tokens for German does not move by accident; see ``trim_golden.py`` for when it may."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.golden.trim_golden import RECORDED, measure, versions


@pytest.mark.golden
def test_the_default_choice_for_german(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    if versions() != recorded["versions"]:
        pytest.skip(f"recorded with {recorded['versions']}, but installed are {versions()}")
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "cache"))
    try:
        found = measure(data_dir)
    finally:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert found == recorded, "if this was meant: python -m tests.golden.trim_golden --update"
