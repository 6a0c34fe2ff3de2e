from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.records import Part
from polycompress.report.heatmap import COLOURS, HeatMap, colour, heat_map, luminance, mean_over_languages
from polycompress.report.result_files import read_results
from tests.report.result_examples import make_result, write


def parse(code: str) -> list[int]:
    return [int(code[place : place + 2], 16) for place in (1, 3, 5)]


def lay_out(root: Path) -> HeatMap:
    judged = read_results(root).judged
    return heat_map(judged, list(dict.fromkeys(each.model for each in judged)))


def test_gaps_are_gaps_and_no_mean_counts_them(tmp_path: Path) -> None:
    write(
        tmp_path / "1.json", make_result("sib200", "a", {"deu-Latn": 0.9, "swh-Latn": 0.7, "hin-Deva": 0.8})
    )
    second = make_result("sib200", "b", {"deu-Latn": 0.5}, averages={"missing": ["swh-Latn"]})
    write(tmp_path / "2.json", second)
    found = lay_out(tmp_path)
    assert [(row.name, row.family) for row in found.rows] == [
        ("Swahili (swh-Latn)", "Atlantic-Congo"), ("German (deu-Latn)", "Indo-European"),
        ("Hindi (hin-Deva)", "Indo-European"),
    ]  # fmt: skip
    (task,) = found.tasks
    assert [column.label for column in task.columns] == ["1", "2"]
    assert [[cell.text for cell in column.cells] for column in task.columns] == [
        ["0.700", "0.900", "0.800"], ["·", "0.500", "·"],
    ]  # fmt: skip
    assert [column.mean for column in task.columns] == ["0.800 (3)", "0.500 (1)"]
    assert [column.families for column in task.columns] == [
        {"Indo-European": "0.850 (2)", "Atlantic-Congo": "0.700 (1)"}, {"Indo-European": "0.500 (1)"},
    ]  # fmt: skip
    gap, other = task.columns[1].cells[0], task.columns[1].cells[2]
    assert gap.paper == other.paper == ""
    assert "asked for, but the task has no such part" in gap.hint
    assert "not measured" in other.hint


def test_colours_run_from_a_tasks_lowest_to_its_highest(tmp_path: Path) -> None:
    write(tmp_path / "1.json", make_result("sib200", "a", {"deu-Latn": 0.9, "swh-Latn": 0.7}))
    write(tmp_path / "2.json", make_result("sib200", "b", {"deu-Latn": 0.5}))
    write(tmp_path / "3.json", make_result("xnli", "a", {"deu-Latn": 0.4}))
    first, second = lay_out(tmp_path).tasks
    papers = {cell.text: cell.paper for column in first.columns for cell in column.cells}
    assert papers["0.500"] == colour(0.0)[0]
    assert parse(papers["0.700"]) == pytest.approx(parse(colour(0.5)[0]), abs=1)
    assert papers["0.900"] == colour(1.0)[0]
    assert second.columns[0].cells[1].paper == colour(1.0)[0]  # one score alone is its highest


def test_a_language_asked_for_that_nothing_has_gets_its_row(tmp_path: Path) -> None:
    result = make_result("xnli", "a", {"deu-Latn": 0.6}, averages={"missing": ["yor-Latn", "eng-Latn/pud"]})
    write(tmp_path / "1.json", result)
    found = lay_out(tmp_path)
    assert [row.name for row in found.rows] == [
        "Yoruba (yor-Latn)", "English (eng-Latn), pud", "German (deu-Latn)",
    ]  # fmt: skip


def test_references_stand_beside_the_models(tmp_path: Path) -> None:
    published = [{"model": "XLM-R", "scores": {"deu-Latn": 0.74, "fra-Latn": 0.75}, "source": "paper"}]
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", make_result("xnli", name, {"deu-Latn": 0.6}, published=published))
    found = lay_out(tmp_path)
    assert [(column.label, column.mean) for column in found.tasks[0].columns] == [
        ("1", "0.600 (1)"), ("2", "0.600 (1)"), ("a", "0.740 (1)"),
    ]  # fmt: skip
    assert found.references == (("a", "XLM-R, published (paper)"),)


def test_hints_tell_intervals_and_seeds(tmp_path: Path) -> None:
    result = make_result("xnli", "a", {"deu-Latn": (0.6, 0.55, 0.66)}, seeds=[0, 1, 2])
    result["scores"][0]["spread"] = 0.0123
    write(tmp_path / "1.json", result)
    hint = lay_out(tmp_path).tasks[0].columns[0].cells[0].hint
    assert (
        hint == "a, deu-Latn: 0.6000 (95 % interval 0.5500 to 0.6600, 100 examples, 3 seeds, spread 0.0123)"
    )


def test_means_count_a_language_once() -> None:
    scores = {Part("eng-Latn", "ewt"): 1.0, Part("eng-Latn", "pud"): 0.0, Part("deu-Latn"): 0.2}
    assert mean_over_languages(scores) == (pytest.approx(0.35), 2)


@given(st.floats(-0.5, 1.5))
def test_text_can_be_read_on_its_colour(share: float) -> None:
    paper, ink = colour(share)
    lighter, darker = sorted([luminance(parse(paper)), 1.0 if ink == "#fff" else 0.0], reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_is_lighter(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert luminance(parse(colour(low)[0])) <= luminance(parse(colour(high)[0])) + 1e-2


def test_the_ends_of_the_scale() -> None:
    assert parse(colour(0.0)[0]) == list(COLOURS[0])
    assert parse(colour(1.0)[0]) == list(COLOURS[-1])
