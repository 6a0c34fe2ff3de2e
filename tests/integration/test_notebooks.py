"""The notebooks as they are kept, and what they say when they run again."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks import run

pytestmark = pytest.mark.integration

ALL = run.notebooks()
MAX_BYTES = 500_000
NAMES = [
    *("01_trim_one_language", "02_bilingual_student", "03_new_language_with_ofa", "04_family_experts"),
    "05_read_the_report",
]
ELSEWHERE = re.compile(r"/(?:home|root|tmp|Users|work/shared)/|\x1b\[")


def test_there_are_five() -> None:
    assert [path.stem for path in ALL] == NAMES


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_is_kept_as_it_ran(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < MAX_BYTES
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert any({"image/png", "image/svg+xml"} & {*output.get("data", ())} for output in outputs)
    assert sum(not cell.outputs for cell in cells) <= 3, "set-up and definitions alone are silent"
    text = nbformat.writes(notebook)
    assert ELSEWHERE.search(re.sub(r'"image/png": "[^"]*"', "", text)) is None
    assert nbformat.writes(run.tidied(copy.deepcopy(notebook))) == text


def test_tidying_takes_out_what_differs_from_run_to_run(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("1")
    cell.metadata["execution"] = {"iopub.execute_input": "2020-01-01"}
    cell.execution_count = 7
    html = "<style></style><table id='T_1a2b3'></table>"
    cell.outputs = [
        nbformat.v4.new_output(
            "stream", name="stdout", text=f"\x1b[1mto\x1b[0m {tmp_path}/x  \r\n0x7f0012345678"
        ),
        nbformat.v4.new_output(
            "execute_result", {"text/html": html, "image/png": "aT_1a2b3"}, execution_count=7
        ),
    ]
    notebook = nbformat.v4.new_notebook(
        cells=[cell], metadata={"kernelspec": {"name": "other", "display_name": "Other"}}
    )
    run.tidied(notebook, {str(tmp_path): "."})
    (tidy,) = notebook.cells
    assert tidy.metadata == {}
    assert (tidy.id, tidy.execution_count, tidy.outputs[1].execution_count) == ("cell-00", 1, 1)
    assert tidy.outputs[0].text == "to ./x\n0x..."
    assert tidy.outputs[1].data["text/html"] == "<style></style><table id='T_table'></table>"
    assert tidy.outputs[1].data["image/png"] == "aT_1a2b3"
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(
    path: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYCOMPRESS_DATA", str(data_dir.resolve()))
    again = run.executed(path, tmp_path)
    kept = nbformat.read(path, as_version=4)
    for new, old in zip(again.cells, kept.cells, strict=True):
        kinds = [[each.output_type for each in cell.get("outputs", ())] for cell in (new, old)]
        assert kinds[0] == kinds[1], new.source


def test_a_command_that_fails_fails_its_notebook(tmp_path: Path) -> None:
    cells = [
        nbformat.v4.new_code_cell(source)
        for source in ("print('begun')", "!polycompress languages --family Martian")
    ]
    path = tmp_path / "06_wrong.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "work").mkdir()
    with pytest.raises(CellExecutionError, match="the command failed"):
        run.executed(path, tmp_path / "work")
