"""Execute the notebooks from clean kernels and keep what they show.

    python notebooks/run.py [01_trim_one_language ...]

Each runs in an empty directory with the data directory that POLYCOMPRESS_DATA names, else ../shared/data beside the
checkout. Kept are outputs and their order; times of execution, places on this machine and the kernel's own details go,
so that a second run over the same numbers changes nothing. A notebook that fails stays as it was.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

HERE: Final = Path(__file__).resolve().parent
SECONDS: Final = 600
"""That a notebook may take on two idle cores."""
_KERNEL: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{8,}")
_STYLER: Final = re.compile(r"\bT_[0-9a-f]{5}")
"""What pandas calls a table: another name each time."""
_SHELL: Final = re.compile(r"^!", re.MULTILINE)
_CHECK: Final = "\nassert _exit_code == 0, 'the command failed'"
"""A command that fails does not fail its cell by itself."""


def notebooks() -> list[Path]:
    """All of them, by number."""
    return sorted(HERE.glob("[0-9][0-9]_*.ipynb"))


def data_directory() -> Path:
    """Where texts and tasks lie."""
    return Path(os.environ.get("POLYCOMPRESS_DATA") or HERE.parents[1] / "shared" / "data").resolve()


def executed(path: Path, work: Path, seconds: int = SECONDS) -> nbformat.NotebookNode:
    """A notebook with the outputs of a clean kernel, tidied.

    Args:
        path: The notebook; it is not changed.
        work: An empty directory for what it writes.
        seconds: That a cell may take.

    Raises:
        CellExecutionError: A cell, or a command in it, failed.
        CellTimeoutError: One took too long.
    """
    notebook = nbformat.read(path, as_version=4)
    sources = [cell.source for cell in notebook.cells]
    for cell in notebook.cells:
        if cell.cell_type == "code" and _SHELL.search(cell.source):
            cell.source += _CHECK
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources=_resources(work))
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONWARNINGS": "ignore:IProgress not found",  # bars that a page does without
        "PYTHONPATH": os.pathsep.join(paths),
        "POLYCOMPRESS_DATA": str(data_directory()),
    }
    client.execute(env=environment)
    for cell, source in zip(notebook.cells, sources, strict=True):
        cell.source = source
    return tidied(
        notebook, {str(work.resolve()): ".", str(data_directory()): "DATA", str(HERE.parent): "CHECKOUT"}
    )


def tidied(notebook: nbformat.NotebookNode, places: Mapping[str, str] | None = None) -> nbformat.NotebookNode:
    """The same notebook without what depends on when and where it ran; tidied again, it stays as it is.

    Args:
        notebook: It is changed.
        places: Paths, and what to write for them.
    """
    notebook.metadata = nbformat.from_dict(_KERNEL)
    named = {**(places or {}), str(Path.home()): "~"}
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = [_output(output, count, named) for output in _joined(cell.outputs)]
    return notebook


def _joined(outputs: Sequence[Any]) -> list[Any]:
    """Pieces of a stream, which come as they are written, in one."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def _output(output: Any, count: int, places: Mapping[str, str]) -> Any:
    output = nbformat.from_dict(_plain(output, places))
    if "execution_count" in output:
        output.execution_count = count
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    return output


def _plain(value: Any, places: Mapping[str, str]) -> Any:
    """Texts without places, colours and addresses; pictures are left as they are."""
    if isinstance(value, Mapping):
        return {name: each if name == "image/png" else _plain(each, places) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, places) for each in value]
    if not isinstance(value, str):
        return value
    for place in sorted(places, key=len, reverse=True):
        value = value.replace(place, places[place])
    value = _STYLER.sub("T_table", _ADDRESS.sub("0x...", _ANSI.sub("", value))).replace("\r\n", "\n")
    return "\n".join(line.rstrip() for line in value.split("\n"))


def _resources(work: Path) -> dict[str, Any]:
    return {"metadata": {"path": str(work)}}


def main() -> None:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[path.stem for path in notebooks()], metavar="NAME")
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, help="that a cell may take, more on a busy machine"
    )
    asked = parser.parse_args()
    for path in notebooks():
        if asked.names and path.stem not in asked.names:
            continue
        began, used = time.monotonic(), _processor_seconds()
        with tempfile.TemporaryDirectory() as work:
            notebook = executed(path, Path(work), asked.seconds)
        nbformat.write(notebook, path)
        print(
            f"{path.name}: {time.monotonic() - began:.0f} s, {_processor_seconds() - used:.0f} s of processors, "
            f"{path.stat().st_size // 1000} kB"
        )


def _processor_seconds() -> float:
    """Of all processes that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
