"""Pages: one frame for all, filled from templates, written whole or not at all. A page loads and runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from polycompress.errors import MissingExtraError
from polycompress.modeldir.atomic import atomic_file
from polycompress.report.text import shown

PAGE: Final = "report.html"


def render_page(template: str, **values: Any) -> str:
    """Fill a template. Whatever text comes from files is escaped, see ``shown``; the same values give the same page.

    Args:
        template: A file beside this one, which extends ``page.html``.
        values: What it names.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("polycompress report", "report") from error
    environment = Environment(
        loader=PackageLoader("polycompress.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: shown(value) if type(value) is str else value,  # markup is another type
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def write_page(target: Path, text: str) -> None:
    """Write a page.

    Raises:
        StorageError: The disk refused.
    """
    with atomic_file(target) as file:
        file.write(text.encode("utf-8"))
