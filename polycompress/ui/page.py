"""The page: a table of runs, a report in a frame, the playground."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from nicegui import ui

from polycompress.errors import PolycompressError
from polycompress.modeldir.figures import join, size
from polycompress.ui.guard import REPORT_POLICY
from polycompress.ui.markup import STYLE
from polycompress.ui.models import find_choices
from polycompress.ui.playground import Playground
from polycompress.ui.reports import report_page
from polycompress.ui.runs import Entry, find_entries

REPORT: Final = "/report"
_COLUMNS: Final = (
    ("name", "Name"),
    ("kind", "What it is"),
    ("state", "State"),
    ("models", "Made from, or judged"),
    ("languages", "Languages"),
    ("size", "Size"),
    ("date", "Date"),
)
_KINDS: Final = {
    "recipe": "run of a recipe",
    "training": "training run",
    "results": "results",
    "model": "model",
}
_COLOUR: Final = "#1f5f99"
"""Of buttons and the header; white on it has a contrast of 6.7."""
_LISTED: Final = 6
"""Languages that are named in the table."""
_OPEN_CELL: Final = """
<q-td :props="props"><q-btn v-if="props.row.report" unelevated dense no-caps color="primary" class="q-px-sm"
label="report" :aria-label="'report of ' + props.row.name" @click="$parent.$emit('report', props.row.name)"/></q-td>
"""
_PAGE_STYLE: Final = """
.frame{width:100%;height:78vh;border:1px solid #8884;background:#fff}
.q-table td{white-space:normal;overflow-wrap:break-word;min-width:6rem;max-width:30rem}
.q-table td:first-child{overflow-wrap:anywhere;min-width:11rem}
"""


def make_application(runs: Path | None, named: Mapping[str, Path]) -> FastAPI:
    """The application that serves the page.

    Args:
        runs: The directory of runs, read anew whenever the page is loaded.
        named: Models besides those found there.
    """
    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def report(run: str) -> Response:
        """A report by the name of its entry; no other path leads to a file."""
        entry = next((each for each in _entries(runs) if each.name == run), None)
        if entry is None:
            return PlainTextResponse("There is no such run.", status_code=404)
        try:
            return HTMLResponse(report_page(entry), headers={"content-security-policy": REPORT_POLICY})
        except PolycompressError as error:
            return PlainTextResponse(str(error), headers={"content-security-policy": REPORT_POLICY})

    application.add_api_route(REPORT, report, methods=["GET"], response_model=None)
    ui.page("/", title="polycompress")(lambda: _show(runs, named))
    ui.run_with(application, dark=None, show_welcome_message=False, language="en-US", reconnect_timeout=30.0)
    return application


def _show(runs: Path | None, named: Mapping[str, Path]) -> None:
    entries = _entries(runs)
    choices = {**named, **find_choices(entries)}
    ui.colors(primary=_COLOUR)
    ui.add_css(_PAGE_STYLE + STYLE)
    with ui.header().classes("items-center"):
        ui.label("polycompress").classes("text-h6")
        ui.label(str(runs) if runs is not None else "models").classes("text-body2")
    with ui.tabs() as tabs:
        table, report, playground = ui.tab("Runs"), ui.tab("Report"), ui.tab("Playground")
    with ui.tab_panels(tabs, value=table if entries else playground).classes("w-full"):
        with ui.tab_panel(report):
            heading = ui.label("Choose a run in the table.").classes("text-subtitle1")
            frame = ui.element("iframe").classes("frame")
            frame.props["sandbox"], frame.props["title"] = "", "Report"
            frame.set_visibility(False)
        with ui.tab_panel(playground):
            models = Playground(choices)
            models.show()

        def open_report(name: str) -> None:
            heading.set_text(name)
            frame.props["src"] = f"{REPORT}?run={quote(name, safe='')}"
            frame.set_visibility(True)
            tabs.set_value(report)

        with ui.tab_panel(table):
            _table(entries, open_report)

    async def begin() -> None:
        if tabs.value in (playground, "Playground"):
            await models.begin()

    # Tokenizers are large: they are read when somebody looks.
    tabs.on_value_change(begin)
    ui.timer(0.05, begin, once=True)


def _table(entries: list[Entry], open_report: Any) -> None:
    if not entries:
        ui.label("No runs, results or models were found here.")
        return
    columns = [
        {"name": name, "label": label, "field": name, "align": "left", "sortable": True}
        for name, label in _COLUMNS
    ]
    columns.append({"name": "open", "label": "", "field": "name", "align": "left"})
    table = ui.table(rows=[_row(each) for each in entries], columns=columns, row_key="name", pagination=25)
    table.classes("w-full").add_slot("body-cell-open", _OPEN_CELL)
    table.on("report", lambda event: open_report(str(event.args)))


def _row(entry: Entry) -> dict[str, Any]:
    codes = entry.languages
    named = ", ".join(codes[:_LISTED]) + (f" and {len(codes) - _LISTED} more" if len(codes) > _LISTED else "")
    return {
        "name": entry.name,
        "kind": _KINDS[entry.kind],
        "state": entry.state + (f": {entry.note}" if entry.note else ""),
        "models": join(entry.models) if entry.models else "",
        "languages": named,
        "size": size(entry.bytes),
        "date": entry.date.replace("T", " ")[:16],
        "report": entry.kind != "model",
    }


def _entries(runs: Path | None) -> list[Entry]:
    if runs is None:
        return []
    try:
        return find_entries(runs)
    except PolycompressError:  # it went away since the program began
        return []
