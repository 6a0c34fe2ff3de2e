"""The page that `polycompress report` writes, of an entry of the table; nothing is written into the run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from polycompress.errors import InputError
from polycompress.ui.runs import Entry


def report_page(entry: Entry) -> bytes:
    """The page of a run, or of results, as HTML.

    Raises:
        InputError: There is no report of such a thing, or its files are damaged.
        MissingExtraError: The extra `report` is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="polycompress-ui-") as folder:
        page = Path(folder) / "report.html"
        if entry.kind == "model":
            raise InputError(f"{entry.name}: is a model, which has no report. Look at its README.md.")
        from polycompress.report.kinds import write_any_report

        write_any_report(entry.path, page)
        return page.read_bytes()
