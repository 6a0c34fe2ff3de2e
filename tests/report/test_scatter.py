from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.report.scatter import HEIGHT, WIDTH, Dot, Dots, log_ticks, scatter


def dot(x: float, y: float, low: float | None = None, high: float | None = None, label: str = "") -> Dot:
    return Dot(x, y, low, high, label, "hint")


def test_points_intervals_and_labels() -> None:
    series = [
        Dots("a", (dot(2e6, 0.5, 0.4, 0.6, "2"), dot(1e6, 0.3, 0.2, 0.35, "1"))),
        Dots("b", (dot(5e6, 0.7),)),
    ]
    root = ET.fromstring(
        scatter("t <&>", series, across="parameters", up="f1", logarithmic=True, joined=True)
    )
    groups = root.findall("g")
    assert [group.get("class") for group in groups] == ["series-0", "series-0", "series-1"]
    assert [len(group.findall("line")) for group in groups] == [1, 1, 0]
    assert [text.text for group in groups for text in group.findall("text")] == ["1", "2"]
    assert len(root.findall("polyline")) == 1  # one point has no line
    assert root.find("title").text == "t <&>"  # type: ignore[union-attr]
    across = [float(group.find("circle").get("cx")) for group in groups]  # type: ignore[union-attr,arg-type]
    assert across[0] < across[1] < across[2]
    # Doubling is as far as doubling anywhere on this axis.
    assert (across[2] - across[0]) / (across[1] - across[0]) == pytest.approx(2.32, abs=0.02)


def test_text_is_escaped() -> None:
    evil = "<script>\"'&"
    text = scatter(evil, [Dots(evil, (Dot(1, 1, None, None, evil, evil),))], across=evil, up=evil)
    ET.fromstring(text)
    assert "<script" not in text


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e12), st.floats(0, 1), st.floats(0, 0.3)), min_size=1, max_size=30),
    st.booleans(),
)
def test_whatever_is_drawn_stays_inside(points: list[tuple[float, float, float]], logarithmic: bool) -> None:
    dots = tuple(dot(x, y, y - width, y + width, "12") for x, y, width in points)
    picture = scatter("t", [Dots("a", dots)], across="x", up="y", logarithmic=logarithmic, joined=True)
    root = ET.fromstring(picture)
    for each in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert -0.1 <= float(each.get(name, 0)) <= WIDTH + 0.1
        for name in ("y", "y1", "y2", "cy"):
            assert -0.1 <= float(each.get(name, 0)) <= HEIGHT + 0.1


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        scatter("t", [Dots("a", ())], across="x", up="y")
    with pytest.raises(ValueError, match="nothing to draw"):
        scatter("t", [Dots("a", (dot(0, 1),))], across="x", up="y", logarithmic=True)


def test_logarithmic_ticks() -> None:
    assert log_ticks(9e6, 1.3e8) == [1e7, 2e7, 5e7, 1e8]
    assert log_ticks(1.5, 5e4) == [10, 100, 1000, 10000]
    assert log_ticks(22e6, 136e6) == [3e7, 5e7, 7e7, 1e8]
    assert log_ticks(110, 130) == [120]
    assert log_ticks(0.08, 0.6) == [0.1, 0.2, 0.5]
