"""The picture of the frontier: what is drawn, what is refused, and labels that do not overlap."""

from __future__ import annotations

import struct
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError, MissingExtraError, StorageError
from polycompress.report.plots import Point, _checked, _draw, _losses, plot_frontier, spread

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")

CURVES: dict[str, list[Point]] = {
    "German": [(40_000, 0.999, 0.9), (10_000, 0.95, 0.3), (20_000, 0.99, 0.6)],
    "Hindi": [(10_000, 0.98, 0.5), (20_000, 0.995, 0.8), (40_000, 1.0, 1.0)],
    "Yoruba": [(10_000, 0.9, None), (40_000, 0.97, None)],
}
BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_each_kind_of_file_is_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"frontier{suffix}"
    assert plot_frontier(CURVES, path, default_sizes={"German": 30_000}) == path
    assert path.read_bytes().startswith(BEGINNINGS[suffix])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_picture_is_wide_enough_for_a_page(tmp_path: Path) -> None:
    width, height = struct.unpack_from(">2I", plot_frontier(CURVES, tmp_path / "a.PNG").read_bytes(), 16)
    assert 1800 <= width <= 2100
    assert 700 <= height <= 900


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_the_same_curves_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = (plot_frontier(CURVES, tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert first == second


def test_both_panels_show_the_numbers() -> None:
    arrays = {label: _checked(label, points) for label, points in CURVES.items()}
    left, right = _draw(arrays, {"German": 30_000, "Hindi": 99_000}).axes
    lines = [line for line in left.get_lines() if line.get_linestyle() != "None"]
    np.testing.assert_allclose(lines[0].get_xdata(), [10_000, 20_000, 40_000])
    np.testing.assert_allclose(lines[0].get_ydata(), [0.05, 0.01, 0.001])
    assert (left.get_xscale(), left.get_yscale(), right.get_yscale()) == ("log", "log", "linear")
    assert [text.get_text() for text in left.texts] == ["German", "Hindi", "Yoruba"]
    assert [text.get_text() for text in right.texts] == ["German", "Hindi"]
    # A ring lies on its line; Hindi's default is beyond what was measured.
    rings = [line for line in left.get_lines() if line.get_linestyle() == "None"]
    assert [ring.get_xdata()[0] for ring in rings] == [30_000]
    assert 0.001 < rings[0].get_ydata()[0] < 0.01


def test_a_language_keeps_its_colour_in_both_panels() -> None:
    arrays = {label: _checked(label, points) for label, points in reversed(CURVES.items())}
    panels = _draw(arrays, {}).axes
    left, right = ({text.get_text(): text.get_color() for text in panel.texts} for panel in panels)
    assert right == {label: left[label] for label in right}
    assert len(set(left.values())) == 3


def test_many_languages_have_distinct_lines_and_room_for_their_names() -> None:
    from matplotlib.text import Text

    arrays = {f"L{index}": _checked("", [(1000, 0.9, 0.5), (2000, 0.95, 0.6)]) for index in range(30)}
    figure = _draw(arrays, {})
    lines = {(line.get_color(), str(line._dash_pattern)) for line in figure.axes[0].get_lines()}
    assert len(lines) == 30
    figure.draw_without_rendering()
    texts = figure.axes[0].texts
    boxes = sorted((Text.get_window_extent(text) for text in texts), key=lambda box: box.y0)  # without lines
    # Descenders may touch, middles of letters may not.
    assert all(above.y0 - below.y0 > 0.8 * below.height for below, above in pairwise(boxes))


def test_without_sentences_there_is_one_panel() -> None:
    assert len(_draw({"Yoruba": _checked("Yoruba", CURVES["Yoruba"])}, {}).axes) == 1


def test_a_line_stays_on_the_floor_where_almost_nothing_is_lost() -> None:
    points: list[Point] = [(10, 0.9, None), (20, 1 - 1e-6, None), (30, 1.0, None)]
    assert _losses({"a": _checked("a", points)})["a"].tolist() == [
        [10, pytest.approx(0.1)], [20, 1e-5], [30, 1e-5],
    ]  # fmt: skip
    rounded = _checked("a", [(10, 1 + 2e-16, 1.0)])
    assert _losses({"a": rounded})["a"].tolist() == [[10, 1e-5]]
    left, _ = _draw({"a": rounded}, {"a": 10}).axes
    assert left.yaxis.get_major_formatter()(1e-5) == "≤0.001%"


def test_the_title_names_the_unit() -> None:
    arrays = {"German": _checked("German", CURVES["German"])}
    assert _draw(arrays, {}, "words").axes[1].get_title(loc="left") == "Held-out words that stay as they were"


def test_names_are_not_read_as_formulas(tmp_path: Path) -> None:
    plot_frontier({r"$\frac{a": CURVES["German"]}, tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a", "png"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot draw a '.*' file. End the name in \.png, \.svg or \.pdf"):
        plot_frontier(CURVES, tmp_path / name)


@pytest.mark.parametrize("points", [
    [], [(0, 0.5, 0.5)], [(10, 1.5, 0.5)], [(10, 0.5, -0.1)], [(10, float("nan"), 0.5)],
])  # fmt: skip
def test_impossible_points_are_refused(points: list[Point], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="curve 'German' needs points with a positive size and shares"):
        plot_frontier({"German": points}, tmp_path / "a.png")


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no curves to draw"):
        plot_frontier({}, tmp_path / "a.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"plots needs .*pip install 'polycompress\[report\]'"):
        plot_frontier(CURVES, tmp_path / "a.png")


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(StorageError, match="the disk is full"):
        plot_frontier(CURVES, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(0.001, 0.2))
def test_labels_keep_their_distance_order_and_bounds(positions: list[float], gap: float) -> None:
    placed = spread(positions, gap)
    assert len(placed) == len(positions)
    distance = min(gap, 1 / max(1, len(positions) - 1))
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    rising = [placed[index] for index in order]
    assert all(high - low >= distance - 1e-9 for low, high in pairwise(rising))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in placed)


@given(st.lists(st.integers(0, 10), unique=True, max_size=8))
def test_labels_with_room_stay_where_they_are(places: list[int]) -> None:
    positions = [place / 10 for place in places]
    assert spread(positions, 0.1 - 1e-9) == pytest.approx(positions)
