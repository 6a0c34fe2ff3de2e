from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.ui.reports import report_page
from polycompress.ui.runs import find_entries
from tests.command_line import tree
from tests.report.result_examples import make_result, write
from tests.ui.tiny import make_model, make_training


def test_reports_are_made_and_nothing_is_written(tmp_path: Path) -> None:
    make_training(tmp_path / "trained")
    write(tmp_path / "scores" / "one.json", make_result("sib200", "judged", {"deu-Latn": 0.5}))
    before = tree(tmp_path)
    pages = {each.name: report_page(each).decode() for each in find_entries(tmp_path)}
    assert "finished after 2 steps" in pages["trained"]
    assert "judged" in pages["scores"]
    assert tree(tmp_path) == before


def test_a_model_has_no_report(tmp_path: Path) -> None:
    (entry,) = find_entries(make_model(tmp_path / "model"))
    with pytest.raises(InputError, match="is a model, which has no report"):
        report_page(entry)
