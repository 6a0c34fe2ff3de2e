from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.evaluation.comparing import compare_results
from polycompress.evaluation.packing import pack_counts
from polycompress.evaluation.records import Part
from polycompress.evaluation.result_table import average_grid, result_markdown, score_grid, summary
from polycompress.evaluation.results import plain, read_result, stored_scores, write_result


def row(code: str, right: list[list[int]], subset: str | None = None, keys: str = "k") -> dict[str, Any]:
    """A row of accuracy, ``right`` by seed."""
    scores = [float(np.mean(each)) for each in right]
    return {
        "language": code,
        "subset": subset,
        "examples": len(right[0]),
        "score": float(np.mean(scores)),
        "low": 0.1,
        "high": 0.9,
        "spread": None,
        "per_seed": scores,
        "details": {},
        "outcomes": {
            "columns": ["correct"],
            "keys": keys,
            "per_seed": [pack_counts(np.array(each, np.uint16)[:, None]) for each in right],
        },
    }


def result(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "evaluation",
        "task": "sib200",
        "split": "test",
        "metric": "accuracy",
        "model": {"name": "tiny", "trained_on": []},
        "seeds": [0],
        "scores": list(rows),
        "averages": {
            "all": {"mean": 0.5, "languages": 2, "missing": ["fra-Latn"]},
            "zero-shot": {"mean": 0.25, "languages": 1, "missing": []},
            "family": {"Indo-European": {"mean": 0.75, "languages": 1, "missing": []}},
            "script": {},
            "resource": {},
            "missing": ["fra-Latn"],
        },
        "settings": {"limit": None},
        **more,
    }


GERMAN = row("deu-Latn", [[1, 1, 0, 1]])
CROATIAN = row("hrv-Latn", [[0, 0, 1, 0]], "set")


def written(path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    write_result(path, result(*rows, **more))
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path / "sib200.json", GERMAN, CROATIAN)
    found = read_result(path)
    assert found == plain(result(GERMAN, CROATIAN))
    stored = stored_scores(found, path)
    assert list(stored) == [Part("deu-Latn"), Part("hrv-Latn", "set")]
    assert stored[Part("deu-Latn")].outcomes[0].tolist() == [[1], [1], [0], [1]]
    assert stored[Part("deu-Latn")].score == 0.75


def test_numbers_that_json_has_not(tmp_path: Path) -> None:
    write_result(
        tmp_path / "x.json", {"a": float("nan"), "b": np.float32(0.5), "c": (np.int64(3), Path("p"))}
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": 0.5, "c": [3, "p"]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "benchmark"}, "is no result of an evaluation"),
        ({"schema": 2}, "'schema' is 2, but this version reads 1"),
        ({"task": 3, "seeds": {}}, "'task' is of type int; 'seeds' is of type dict"),
        ({"scores": [3]}, r"'scores\[0\]' is no object"),
        ({"scores": [{"language": "deu-Latn"}]}, r"'scores\[0\]\.subset' is missing"),
        ({"scores": [{**GERMAN, "examples": True}]}, r"'scores\[0\]\.examples' is of type bool"),
        ({"scores": [{**GERMAN, "examples": 0}]}, r"scores\[0\]\.examples: is 0; a whole number from 1 on"),
        (
            {"scores": [{**GERMAN, "score": 10**400}]},
            r"scores\[0\]\.score: is 1000+\.\.\.; a number from 0 to 1",
        ),
        ({"scores": [{**GERMAN, "low": -0.5}]}, r"scores\[0\]\.low: is -0\.5; a number from 0 to 1 will do"),
        ({"scores": [GERMAN, GERMAN]}, r"scores\[1\]: deu-Latn is there twice"),
    ],
)
def test_wrong_layouts(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(plain({**result(GERMAN), **changed})))
    with pytest.raises(InputError, match=message):
        read_result(path)


def test_no_result_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_result(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text('{"schema": 1,')
    with pytest.raises(InputError, match=r"torn\.json: line 1, column 14: not JSON"):
        read_result(tmp_path / "torn.json")


def test_damaged_outcomes(tmp_path: Path) -> None:
    for outcomes, message in (
        ({"per_seed": [{"dtype": "object"}]}, r"scores\[0\]\.outcomes: 'dtype' must be"),
        ({}, "not of 4 examples"),
        ({"per_seed": [pack_counts(np.zeros((3, 1), np.uint16))]}, "not of 4 examples"),
        ({"per_seed": [pack_counts(np.full((4, 1), np.nan, np.float32))]}, "a number that is not finite"),
    ):
        found = result({**GERMAN, "outcomes": outcomes})
        with pytest.raises(InputError, match=message):
            stored_scores(found, tmp_path)


def test_comparing_by_hand(tmp_path: Path) -> None:
    first = written(tmp_path / "a.json", row("deu-Latn", [[1] * 40]), row("swh-Latn", [[1, 0] * 20]))
    second = written(tmp_path / "b.json", row("deu-Latn", [[0] * 40]), row("fra-Latn", [[1] * 40]))
    found = compare_results(first, second)
    (german,) = found["scores"]
    assert (german["first"], german["second"], german["difference"]) == (1, 0, 1)
    assert (german["low"], german["high"]) == (1, 1)
    assert german["p"] < 0.01
    assert found["mean"]["difference"] == 1
    assert found["notes"] == [
        f"only in {first}, and in no mean here: swh-Latn", f"only in {second}, and in no mean here: fra-Latn",
    ]  # fmt: skip


def test_comparing_a_result_with_itself_and_with_more_seeds(tmp_path: Path) -> None:
    right = [[1, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1], [1, 1, 1, 1, 0, 0]]
    three = written(tmp_path / "a.json", row("deu-Latn", right))
    two = written(tmp_path / "b.json", row("deu-Latn", right[:2]))
    (same,) = compare_results(three, three)["scores"]
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    (fewer,) = compare_results(three, two)["scores"]
    assert fewer["difference"] == pytest.approx(np.mean(right) - np.mean(right[:2]))


def test_scores_are_those_of_the_outcomes_that_are_compared(tmp_path: Path) -> None:
    first = written(tmp_path / "a.json", {**GERMAN, "score": 0.5})
    (german,) = compare_results(first, written(tmp_path / "b.json", row("deu-Latn", [[1, 0, 0, 0]])))[
        "scores"
    ]
    assert (german["first"], german["second"], german["difference"]) == (0.75, 0.25, 0.5)


@pytest.mark.parametrize(
    ("rows", "changed", "message"),
    [
        ([GERMAN], {"task": "xnli"}, "has the task 'sib200', .* 'xnli'"),
        ([GERMAN], {"split": "dev"}, "has the split 'test', .* 'dev'"),
        ([CROATIAN], {}, "have no language in common: deu-Latn and hrv-Latn/set"),
        ([row("deu-Latn", [[1, 1, 0, 1]], keys="other")], {}, "of different examples in deu-Latn"),
        ([GERMAN], {"metric": "f5"}, "has the metric 'accuracy'"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, rows: list[dict[str, Any]], changed: dict[str, Any], message: str
) -> None:
    first = written(tmp_path / "a.json", GERMAN)
    second = written(tmp_path / "b.json", *rows, **changed)
    with pytest.raises(InputError, match=message):
        compare_results(first, second)


def test_a_seed_that_is_none(tmp_path: Path) -> None:
    first = written(tmp_path / "a.json", GERMAN)
    with pytest.raises(InputError, match="seed is -1: give at least 0"):
        compare_results(first, first, seed=-1)


def test_columns_of_another_metric(tmp_path: Path) -> None:
    first = written(tmp_path / "a.json", GERMAN, metric="entity-f1")
    with pytest.raises(InputError, match="deu-Latn: what each example got has not the columns of entity-f1"):
        compare_results(first, first)


def test_the_table_shows_gaps_and_what_stands_beside() -> None:
    found = result(
        GERMAN,
        CROATIAN,
        seeds=[0, 1],
        over_seeds={"spread": 0.01, "collapsed": 0.5},
        published=[
            {"model": "XLM-R", "scores": {"deu-Latn": 0.7}, "protocol": "p", "source": "s", "average": None},
            {
                "model": "mBERT",
                "scores": {},
                "protocol": "p",
                "source": "s",
                "average": 0.6,
                "average_over": 15,
            },
        ],
        baseline={"method": "words", "scores": {"in-language": {"deu-Latn": 0.3}}},
        loyalty={"teacher": "big", "scores": {"deu-Latn": {"label": 0.9, "cka": 0.8}}},
        notes=["a *note*"],
        command=["polycompress", "eval"],
        date="2026-01-01",
    )
    found["model"]["trained_on"] = ["eng-Latn"]
    grid = score_grid(found)
    assert grid.head == (
        "language", "examples", "score", "95 % interval", "spread over seeds", "XLM-R, published",
        "bag of words, in-language", "label loyalty", "CKA with the teacher",
    )  # fmt: skip
    assert grid.rows == (
        ("German (deu-Latn)", "4", "0.750", "0.100-0.900", "-", "0.700", "0.300", "0.900", "0.800"),
        ("Croatian (hrv-Latn), set", "4", "0.250", "0.100-0.900", "-", "-", "-", "-", "-"),
        ("French (fra-Latn)", *["-"] * 8),
    )
    assert average_grid(found).rows == (
        ("all languages", "0.500", "2", "1"),
        ("not trained on", "0.250", "1", ""),
        ("family: Indo-European", "0.750", "1", ""),
    )
    assert summary(found) == (
        "accuracy on the test split; tuned in eng-Latn; mean of seeds 0 and 1, spread 0.010, 1 of them collapsed; "
        "loyalty to big"
    )
    page = result_markdown(found)
    assert "| German (deu-Latn) | 4 | 0.750 |" in page
    assert "Not measured, and in no average: fra-Latn." in page
    assert r"- a \*note\*" in page
    assert "- mBERT, published: 0.600 over 15 languages; p (s)" in page
    assert page.endswith("Made by `polycompress eval` on 2026-01-01.\n")
