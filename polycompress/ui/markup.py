"""Pieces as HTML; whatever comes from models and texts is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from typing import Final

from polycompress.ui.pieces import Piece

COLOURS: Final = 6
"""Of neighbouring pieces, in turns."""
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")

STYLE: Final = """
.pieces{display:flex;flex-wrap:wrap;gap:3px 2px;line-height:1.2}
.piece{display:inline-flex;flex-direction:column;align-items:center;padding:2px 4px;border-radius:4px;
white-space:pre;color:#111;border:2px solid transparent;font-size:1rem;unicode-bidi:isolate}
.piece small{font-size:.65rem;color:#333}
.piece-0{background:#cfe3ff}.piece-1{background:#ffe2b8}.piece-2{background:#d3f1d0}
.piece-3{background:#f6d0e4}.piece-4{background:#e2d8fb}.piece-5{background:#cdeff0}
.piece-begins{margin-inline-start:7px}
.piece-special{background:#e4e4e4;font-style:italic}
.piece-unknown{background:#ffb3ab;font-weight:600}
.piece-otherwise{border:2px solid #b3261e}
"""
"""Dark letters on light colours in both modes, every pair above 7:1."""


def render_pieces(
    pieces: Sequence[Piece], otherwise: Collection[tuple[int, int]] = (), direction: str = "ltr"
) -> str:
    """A row of pieces, each with its id.

    Args:
        pieces: Of a text.
        otherwise: Words, by begin and end, whose pieces are marked.
        direction: ``ltr`` or ``rtl``: of the text.
    """
    spans = [
        _span(number, piece, marked=not piece.is_special and _within(piece, otherwise))
        for number, piece in enumerate(pieces)
    ]
    return f'<div class="pieces" dir="{"rtl" if direction == "rtl" else "ltr"}">{"".join(spans)}</div>'


def _span(number: int, piece: Piece, *, marked: bool) -> str:
    kind = "unknown" if piece.is_unknown else "special" if piece.is_special else str(number % COLOURS)
    title = f"{piece.token} · {piece.id}" + (" · word cut otherwise" if marked else "")
    classes = f"piece piece-{kind}" + " piece-begins" * piece.begins + " piece-otherwise" * marked
    return f'<span class="{classes}" title="{_escaped(title)}">{_escaped(piece.shown)}<small>{piece.id}</small></span>'


def _within(piece: Piece, spans: Collection[tuple[int, int]]) -> bool:
    return any(piece.start < end and begin < piece.end for begin, end in spans)


def _escaped(text: str) -> str:
    return html.escape(_CONTROL.sub("\ufffd", text), quote=True)
