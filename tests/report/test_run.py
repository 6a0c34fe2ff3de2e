from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.report.chart import MAX_POINTS, Series, line_chart, short, thin, ticks
from polycompress.report.run import read_report, render_report, write_report
from tests.report.page_checks import Page

CONFIG: dict[str, Any] = {
    "command": ["polycompress", "mlm", "demo", "--corpus", "a b.txt"],
    "source": {"name": "e5"},
    "languages": [{"code": "deu-Latn", "name": "German"}],
    "settings": {"training": {"steps": 40, "optimiser": {"learning_rate": 0.001}}, "languages": ["deu-Latn"]},
}


def make_run(folder: Path, records: list[dict[str, Any]], config: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def record(step: int, **more: Any) -> dict[str, Any]:
    return {
        "step": step, "steps": 40, "loss": 10 / step, "learning_rate": 1e-3 / step, "gradient_norm": 1.0,
        "tokens": 100 * step, "tokens_per_second": 500.0 + step, "seconds": 0.2 * step, "memory_mib": 900.0,
        "peak_memory_mib": 950.0, "language_tokens": {"deu-Latn": 75 * step, "xxx-Latn": 25 * step}, **more,
    }  # fmt: skip


def test_a_page_stands_alone(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        [record(5), record(10, held_out_loss=2.5), record(15), record(20, held_out_loss=2.0)],
    )
    report, page = write_report(run)
    assert page == run / "report.html"
    text = page.read_text(encoding="utf-8")
    assert Page(text).outside == []
    assert "http" not in text.replace("http-equiv", "")
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "default-src 'none'" in text
    assert [title for title, _ in report.curves] == [
        "Loss", "Learning rate", "Tokens a second", "Gradient norm", "Memory, MiB",
    ]  # fmt: skip
    assert text.count("<svg") == 5
    assert "20 of 40 steps" in text
    assert "polycompress mlm demo --corpus &#39;a b.txt&#39;" in text
    assert "training.optimiser.learning_rate" in text
    assert ("best loss on held-out text", "2.0000") in report.facts


def test_languages_and_their_shares(tmp_path: Path) -> None:
    report = read_report(make_run(tmp_path / "run", [record(4)]))
    assert report.languages == (("German", 300, 0.75), ("xxx-Latn", 100, 0.25))
    assert "75.0%" in render_report(report)


def test_shares_that_change_are_drawn(tmp_path: Path) -> None:
    codes = ["deu-Latn", *(f"xx{letter}-Latn" for letter in "abcdefghi")]
    shares = [{code: (1 + step * number) / 100 for number, code in enumerate(codes)} for step in (1, 2)]
    records = [record(1), *(record(step, language_shares=shares[step - 2]) for step in (2, 3))]
    records[-1]["language_ratios"] = {"deu-Latn": 1.5}
    report = read_report(make_run(tmp_path / "run", records))
    found = {title: {each.name: each.points for each in series} for title, series in report.curves}
    assert found["Shares of the languages"]["German"] == ((2.0, 0.01), (3.0, 0.01))
    assert found["Shares of the languages"]["xxb-Latn"] == ((2.0, 0.03), (3.0, 0.05))
    assert found["How far languages lag behind"] == {"German": ((3.0, 1.5),)}
    text = render_report(report)
    Page(text)
    # Ten lines have eight colours: those of the ninth and tenth are told apart by their strokes.
    assert text.count('class="line-1 again"') == 1 and text.count('class="key key-1 again"') == 1
    assert text.count('class="line-7"') == 1 and "line-8" not in text.replace("--line-", "")


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'"
    config = {
        **CONFIG,
        "source": {"name": evil},
        "command": ["polycompress", evil],
        "languages": [{"code": "deu-Latn", "name": evil}],
        "settings": {evil: evil},
    }
    run = make_run(tmp_path / "<b>", [record(4, language_tokens={evil: 3, "deu-Latn": 1})], config)
    text = render_report(read_report(run))
    assert "<script" not in text
    assert "<b>" not in text
    assert Page(text).outside == []
    assert text.count("&lt;script&gt;") >= 4


@pytest.mark.parametrize(
    "odd",
    [
        {"loss": None},
        {"loss": "low", "learning_rate": [1], "language_tokens": 3},
        {"loss": 10**400, "tokens": -5, "seconds": True},
        {"language_tokens": {"deu-Latn": "many"}, "steps": None},
        {"loss": 1e308, "gradient_norm": -1e308},
        {"language_shares": {"deu-Latn": "half", "<b>": 0.5}, "language_ratios": [1]},
    ],
)
def test_odd_records_do_not_break_the_page(tmp_path: Path, odd: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", [record(1), {**record(2), **odd}])
    text = render_report(read_report(run))
    Page(text)
    assert "nan" not in text


def test_a_run_that_has_measured_nothing(tmp_path: Path) -> None:
    report = read_report(make_run(tmp_path / "run", []))
    assert (report.step, report.steps, report.curves) == (0, 40, ())
    assert "Nothing was measured yet." in render_report(report)


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [record(40)])
    (run / "final").mkdir()
    assert "finished after 40 steps" in render_report(read_report(run))


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such directory\. Give the directory of a run"):
        read_report(tmp_path / "none")
    run = make_run(tmp_path / "run", [], {"model_type": "bert"})
    with pytest.raises(InputError, match="is not that of a training run"):
        read_report(run)
    (run / "config.json").write_text(json.dumps(CONFIG))
    (run / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match=r"metrics\.jsonl: no such file"):
        read_report(run)


def test_a_gap_is_a_gap() -> None:
    series = Series("a", ((1, 1.0), (2, 2.0), (3, None), (4, 1.0), (5, 3.0), (6, None), (7, 2.0)))
    chart = ET.fromstring(line_chart("t <&>", [series], across="step"))
    assert len(chart.findall("polyline")) == 2
    assert len(chart.findall("circle")) == 1
    assert chart.find("title").text == "t <&>"  # type: ignore[union-attr]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.none() | st.floats(-1e12, 1e12)), min_size=1, max_size=50
    ).filter(lambda points: any(y is not None for _, y in points))
)
@example([(0, 5e-324)])
@example([(0, 5e-324), (1, 0.0)])
def test_whatever_is_drawn_stays_inside(points: list[tuple[int, float | None]]) -> None:
    chart = line_chart(
        "t", [Series("a", tuple((float(x), y) for x, y in sorted(points, key=lambda p: p[0])))], across="step"
    )
    root = ET.fromstring(chart)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for places in re.findall(r'points="([^"]*)"', chart):
        for place in places.split():
            right, down = map(float, place.split(","))
            assert -0.1 <= right <= width + 0.1
            assert -0.1 <= down <= height + 0.1


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_cover_the_range_with_few_round_numbers(low: float, span: float) -> None:
    high = low + span
    marks = ticks(low, high)
    step = marks[1] - marks[0]
    assert marks[0] <= low + 1e-9 * max(1, abs(low), span)
    assert marks[-1] >= high - 1e-9 * max(1, abs(high), span)
    assert 2 <= len(marks) <= 12 or step <= 1e-5 * abs(low)


def test_ticks_by_hand() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(0.003, 0.011) == [0.002, 0.004, 0.006, 0.008, 0.01, 0.012]
    assert ticks(3, 5, whole=True) == [3, 4, 5]
    assert ticks(7, 7) == [6, 8]


def test_numbers_on_axes() -> None:
    assert [short(value) for value in (0, 0.5, 5e-05, 1500, 2e6, 3e9, -1500)] == [
        "0", "0.5", "5e-05", "1.5k", "2M", "3G", "-1.5k",
    ]  # fmt: skip


def test_long_lines_are_thinned() -> None:
    points = tuple((float(x), float(x % 7)) for x in range(10_000))
    kept = thin(points)
    assert len(kept) == MAX_POINTS
    assert kept[0][0] == pytest.approx(12)
    assert thin(points[:10]) == points[:10]
    assert thin(tuple((float(x), None) for x in range(1000)))[0][1] is None
