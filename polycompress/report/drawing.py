"""What all pictures share: the kinds of file, the style, and writing them whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES: Final[tuple[str, ...]] = (".png", ".svg", ".pdf")
INK: Final = "#333333"
STYLE: Final[Any] = {  # rc_context wants its own literal type of key
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.1,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "svg.hashsalt": "polycompress",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def check_picture(path: Path) -> None:
    """Make sure that a picture can be drawn into a file, before any work is done for it.

    Raises:
        InputError: The suffix is not one of ``SUFFIXES``.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: cannot draw a '{path.suffix}' file. End the name in .png, .svg or .pdf.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("plots", "report") from error


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of this house; nothing of it stays behind."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def save_picture(figure: Figure, path: Path) -> Path:
    """Write a figure.

    Args:
        figure: What was drawn, inside of ``drawing``.
        path: Its suffix says how.

    Returns:
        The path.

    Raises:
        StorageError: The file cannot be written.
    """
    suffix = path.suffix.lower()
    # No date in the file: the same figures give the same bytes.
    dateless: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
    with atomic_file(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=200, metadata=dateless)
    return path
