"""The heat map of shared vocabulary: what is drawn and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from polycompress.errors import InputError, MissingExtraError
from polycompress.report.overlap import NUMBERS_UP_TO, _draw, plot_overlap

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")

NAMES = ["German", "Dutch", "中文 $x$"]
SHARES = np.array([[1.0, 0.412, 0.0213], [0.412, 1.0, 0.03], [0.0213, 0.03, 1.0]])
BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_each_kind_of_file_is_written_with_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
    assert plot_overlap(NAMES[:2], SHARES[:2, :2], first) == first
    plot_overlap(NAMES[:2], SHARES[:2, :2], second)
    assert first.read_bytes().startswith(BEGINNINGS[suffix])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_cells_hold_their_numbers_and_can_be_read() -> None:
    figure = _draw(NAMES, SHARES, "Shared")
    axes = figure.axes[0]
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert written[1, 0] == ("41", "black")
    assert written[2, 0] == ("2.1", "white")
    assert (0, 0) not in written
    assert len(written) == 6
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    assert figure.get_suptitle() == "Shared"


def test_colours_rise_evenly_in_lightness() -> None:
    image = _draw(NAMES, SHARES, "").axes[0].get_images()[0]
    colours = image.cmap(np.linspace(0, 1, 32))[:, :3]
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
    assert image.get_clim() == (0.0, pytest.approx(0.412))
    assert np.ma.getmaskarray(image.get_array()).diagonal().all()


def test_many_languages_have_colours_only() -> None:
    count = NUMBERS_UP_TO + 1
    axes = _draw([f"L{index}" for index in range(count)], np.eye(count), "").axes[0]
    assert not axes.texts
    assert len(axes.get_yticklabels()) == count


@pytest.mark.parametrize("names", [["German"], ["German", "Dutch", "Danish", "Finnish"], []])
def test_names_must_fit(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names do not fit shares of shape"):
        plot_overlap(names, SHARES, tmp_path / "a.png")


def test_shares_are_shares(tmp_path: Path) -> None:
    for bad in (SHARES * 3, SHARES - 1, SHARES * np.nan):
        with pytest.raises(ValueError, match="shares must lie between 0 and 1"):
            plot_overlap(NAMES, bad, tmp_path / "a.png")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"cannot draw a '\.gif' file. End the name in \.png, \.svg or \.pdf"
    ):
        plot_overlap(NAMES, SHARES, tmp_path / "a.gif")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"plots needs .*pip install 'polycompress\[report\]'"):
        plot_overlap(NAMES, SHARES, tmp_path / "a.png")
