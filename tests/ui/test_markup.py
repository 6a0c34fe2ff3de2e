from __future__ import annotations

import html
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from polycompress.ui.markup import COLOURS, STYLE, render_pieces
from polycompress.ui.pieces import Piece

TEXT = st.text(st.characters(), max_size=12)
PIECES = st.builds(
    Piece, st.integers(0, 300_000), TEXT, TEXT, st.integers(0, 9), st.integers(0, 9), st.booleans(), st.booleans(),
    st.booleans(),
)  # fmt: skip


class Reader(HTMLParser):
    """Tags, with their attributes' names, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@given(pieces=st.lists(PIECES, max_size=6), direction=TEXT)
def test_no_text_becomes_markup(pieces: list[Piece], direction: str) -> None:
    reader = Reader()
    reader.feed(render_pieces(pieces, {(0, 5)}, direction))
    reader.close()
    expected = [("div", ("class", "dir")), *[("span", ("class", "title")), ("small", ())] * len(pieces)]
    assert reader.tags == expected


def test_pieces_show_text_id_and_token() -> None:
    shown = render_pieces([Piece(42, '"<b>', "a & b", 0, 5, False, False, True)], {(0, 5)}, "rtl")
    assert 'dir="rtl"' in shown
    assert "a &amp; b<small>42</small>" in shown
    assert "&quot;&lt;b&gt; · 42 · word cut otherwise" in shown
    assert "piece-begins piece-otherwise" in shown


def test_special_and_unknown_pieces_have_their_own_colours() -> None:
    shown = render_pieces(
        [Piece(0, "<s>", "", 0, 0, True, False, False), Piece(3, "<unk>", "x", 0, 1, False, True, True)],
        {(0, 1)},
    )
    assert shown.count("piece-special") == 1
    assert shown.count("piece-unknown") == 1
    assert shown.count("piece-otherwise") == 1


def test_characters_that_turn_or_hide_text_are_shown_as_such() -> None:
    shown = html.unescape(render_pieces([Piece(1, "a\u202eb\x00", "\u2066\ud800", 0, 2, False, False, True)]))
    assert not set(shown) & set("\u202e\x00\u2066\ud800")
    assert "\ufffd" in shown


def test_every_colour_has_enough_contrast() -> None:
    backgrounds = re.findall(r"\.piece-(?:\d|special|unknown)\{background:#(\w{6})", STYLE)
    assert len(backgrounds) == COLOURS + 2
    for ink in ("111111", "333333"):  # of the text, of the id
        assert all(contrast(ink, each) >= 7 for each in backgrounds)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio."""
    dark, light = sorted(luminance(each) for each in (one, other))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
