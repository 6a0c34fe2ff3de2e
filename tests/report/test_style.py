"""The colours of pages: text is read in both modes, and lines are told from what is behind them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import polycompress.report
from polycompress.report.heatmap import COLOURS, colour, luminance

STYLE = (Path(polycompress.report.__file__).parent / "style.css").read_text(encoding="utf-8")
TEXT = ("ink", "faint", "accent")
BEHIND = ("paper", "card")


def palette(number: int) -> dict[str, tuple[int, ...]]:
    """Colours by name: 0 those of light pages, 1 those of dark ones."""
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[number]
    found = {}
    for name, value in re.findall(r"--([a-z0-9-]+): #([0-9a-f]+);", block):
        digits = value if len(value) == 6 else "".join(2 * digit for digit in value)
        found[name] = tuple(bytes.fromhex(digits))
    return found


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """As WCAG 2.1 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", [0, 1])
def test_contrasts(mode: int) -> None:
    colours = palette(mode)
    assert len(colours) == 14
    for behind in BEHIND:
        for name in TEXT:
            assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)
        for number in range(8):
            assert contrast(colours[f"line-{number}"], colours[behind]) >= 3, (number, behind)


def test_contrast_by_hand() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 0, 0), (255, 255, 255)) == pytest.approx(3.998, abs=1e-3)


@pytest.mark.parametrize("share", [place / 40 for place in range(41)])
def test_cells_of_heat_maps(share: float) -> None:
    paper, ink = (
        tuple(bytes.fromhex(each[1:] if len(each) == 7 else "".join(2 * digit for digit in each[1:])))
        for each in colour(share)
    )
    assert contrast(paper, ink) >= 4.5
    assert len(COLOURS) == 10


def test_colours_of_text_are_those_that_are_checked() -> None:
    for value in re.findall(r"(?<![a-z-])color: ([^;]+);", STYLE):
        assert re.fullmatch(r"var\(--(ink|faint|accent)\)", value), value
    for selector, value in re.findall(r"(svg [^{}]*)\{[^{}]*fill: var\(--([a-z0-9-]+)\)", STYLE):
        if any(word in selector for word in ("text", "tick", "label")):
            assert value in TEXT, selector
