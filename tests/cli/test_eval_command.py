from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polycompress.cli.eval_view import fitting
from polycompress.evaluation.result_table import Grid
from tests.command_line import environment, invoke, refused
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, make_pack


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    make_pack(folder / "data")
    tiny("xlm-roberta", "sequence", folder / "topics", CATEGORIES)
    tiny("xlm-roberta", "sequence", folder / "others", CATEGORIES, seed=8)
    return folder


def arguments(root: Path, *more: str | Path, model: str = "topics") -> list[str | Path]:
    return [
        "eval", root / model, "--task", "sib200", "--data", root / "data", "--device", "cpu", "--precision", "fp32",
        *more,
    ]  # fmt: skip


def test_a_table_with_a_gap(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(root, "--langs", "de,fr"))
    assert done.code == 0, done.err
    assert "topics on sib200: accuracy on the test split" in done.out
    assert "not measured, and in no average: fra-Latn" in done.out


def test_json_is_one_object(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(root, "--langs", "de", "--json", "--teacher", root / "others"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["kind"] == "evaluation"
    assert found["scores"][0]["language"] == "deu-Latn"
    assert 0 <= found["loyalty"]["scores"]["deu-Latn"]["label"] <= 1
    assert found["command"][0] == "polycompress"


def test_results_are_written_and_compared(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("topics", "others"):
        done = invoke(capsys, *arguments(root, "--out", tmp_path / model, model=model))
        assert done.code == 0, done.err
        assert f"written to {tmp_path / model}" in done.out.replace("\n", "")
    files = (tmp_path / "topics" / "sib200.json", tmp_path / "others" / "sib200.json")
    shown = invoke(capsys, "eval", "--compare", *files)
    assert shown.code == 0, shown.err
    assert "paired bootstrap" in shown.out
    found = json.loads(invoke(capsys, "eval", "--compare", *files, "--json").out)
    assert [row["language"] for row in found["scores"]] == ["deu-Latn", "eng-Latn", "swh-Latn"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "sib20"], "There is no task 'sib20'. Did you mean sib200?"),
        (["--task", "sib200", "--langs", "Klingonish"], "Klingonish"),
        (["--task", "sib200", "--langs", "fr"], "has no test examples in fra-Latn. It has them in: deu-Latn"),
        (["--task", "sib200", "--split", "trial"], "--split 'trial': give one of train, dev, test"),
        (["--task", "sib200", "--precision", "fp8", "--seed", "-1"], "precision is 'fp8'"),
        (["--task", "sib200", "--limit", "0"], "limit is 0"),
        (["--task", "sib200", "--limit", str(10**30)], "it must be at least 1, and at most"),
        (["--task", "sib200", "--max-length", str(10**30)], "give at most 1048576"),
        (["--task", "ner-wikiann"], "which has no head for token-classification"),
        (["--task", "nli-sick"], "labels (id2label) are entertainment, geography"),
        (["--suite", "quick"], "--suite quick: name with --out the directory"),
        (["--task", "sib200", "--suite", "quick"], "Give MODEL and either --task or --suite"),
        (
            ["--suite", "quick", "--out", "o", "--split", "dev"],
            "--suite quick: has test splits of built-in tasks",
        ),
        (["--suite", "quick", "--out", "o", "--tasks", "t"], "--split and --tasks go with --task"),
        (["--task", "sib200", "--seeds", "3"], "--seeds 3: is for the tuning of a --suite"),
        (["--compare", "a.json", "b.json"], "--compare takes two results and nothing else"),
        ([], "Give MODEL and either --task or --suite"),
    ],
)
def test_wrong_requests(
    root: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    said = refused(
        capsys, root, "eval", root / "topics", "--data", root / "data", "--device", "cpu", *options
    )
    assert message in said.replace("\n", " ")


def test_wide_tables_are_cut_between_columns(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(("language", "a" * 9, "b" * 9, "c" * 9), (("German", "1", "2", "3"),))
    assert fitting(grid, 80) == [grid]
    assert [part.head for part in fitting(grid, 36)] == [
        ("language", "a" * 9, "b" * 9),
        ("language", "c" * 9),
    ]
    assert [part.rows for part in fitting(grid, 1)] == [(("German", each),) for each in "123"]
    monkeypatch.setenv("COLUMNS", "80")
    done = invoke(capsys, *arguments(root, "--langs", "de", "--teacher", root / "others"))
    assert "CKA with the teacher" in done.out
    assert re.search(r"German \(deu-Latn\) +14 +[\d.]+ +[\d.]+-[\d.]+", done.out)


def test_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, tmp_path, "eval", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    assert "a.json: no such file" in said


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, "eval", "--help")
    assert "--suite" in done.out
    assert "polycompress eval" in done.out


def test_without_torch_results_are_compared_and_judging_says_what_to_install(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(capsys, *arguments(root, "--langs", "de", "--out", tmp_path)).code == 0
    script = """
import sys
sys.modules["torch"] = None
from pathlib import Path
from polycompress.cli.eval import evaluate
from polycompress.cli.eval_view import fitting
from polycompress.errors import MissingExtraError
file = Path(sys.argv[1])
evaluate(compare=(file, file), seed=0)
try:
    evaluate("demo", task="sib200", compare=(Path(), Path()))
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sib200.json")],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "+0.000" in done.stdout
    assert "polycompress eval needs packages that are not installed" in done.stdout
