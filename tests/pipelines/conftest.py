"""Pipelines on tiny models: word lists cut short, so that counting them takes no time."""

from __future__ import annotations

import pytest

from polycompress.pipelines.trimming import gathering


@pytest.fixture(autouse=True)
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
