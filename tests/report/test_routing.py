"""The picture and the table of routing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from polycompress.errors import InputError, MissingExtraError
from polycompress.moe.config import MoeConfig
from polycompress.moe.routing_report import RoutingReport, by_family, homes_of, report_routing
from polycompress.moe.statistics import count_routing
from polycompress.report.routing import HEADER, NUMBERS_UP_TO, _draw, plot_routing, routing_rows

BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


def report(experts: int = 2, layers: tuple[int, ...] = (2, 3)) -> RoutingReport:
    """German sends three of four tokens to its family's expert, Swahili one."""
    moe = MoeConfig(
        layers=layers,
        experts=experts,
        top_k=1,
        families={"West $x$ Germanic": (0,), "Bantu": tuple(range(1, experts))},
        languages={"deu-Latn": "West $x$ Germanic", "swh-Latn": "Bantu"},
    )
    codes = by_family(moe, ["swh-Latn", "deu-Latn"])
    choices = np.array([[0], [0], [1], [0], [0], [0], [1], [0]])
    probabilities = np.full((8, experts), 1 / experts)
    languages = np.repeat([0, 1], 4)
    seen = count_routing(probabilities, choices, languages, homes_of(moe, list(codes)))
    return report_routing(moe, codes, dict.fromkeys(layers, seen))


def test_rows_of_a_table() -> None:
    assert routing_rows(report(), 3) == [
        ("deu-Latn", "4", "75%", "0.81", "1.00", "75%", "25%"),
        ("swh-Latn", "4", "25%", "0.81", "1.00", "75%", "25%"),
    ]
    assert len(routing_rows(report(), 3)[0]) == len(HEADER) + 2
    assert [row[-1] for row in routing_rows(report(), 3, {"deu-Latn": 0.125})] == ["12.5%", "-"]


pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra report)")


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_each_kind_of_file_is_written_with_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}{suffix}" for name in "ab")
    assert plot_routing(report(), first) == first
    plot_routing(report(), second)
    assert first.read_bytes().startswith(BEGINNINGS[suffix])
    assert first.read_bytes() == second.read_bytes()


def test_a_panel_a_layer_with_languages_experts_and_frames() -> None:
    figure = _draw(report())
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["layer 2", "layer 3"]
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["German", "Swahili"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0 West $x$ Germanic", "1 Bantu"]
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert written == {
        (0, 0): ("75", "black"),
        (1, 0): ("25", "white"),
        (0, 1): ("75", "black"),
        (1, 1): ("25", "white"),
    }
    frames = [patch.get_xy() for patch in axes.patches]
    assert [(round(x), round(y)) for x, y in frames] == [(0, 0), (1, 1)]


def test_many_experts_have_colours_only() -> None:
    axes = _draw(report(experts=NUMBERS_UP_TO + 1, layers=(0,))).axes[0]
    assert not axes.texts
    assert len(axes.patches) == NUMBERS_UP_TO + 1


def test_other_files_and_no_matplotlib_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot draw a '\.txt' file"):
        plot_routing(report(), tmp_path / "routes.txt")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="report"):
        plot_routing(report(), tmp_path / "routes.png")
