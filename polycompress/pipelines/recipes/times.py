"""Times in the files of a finished stage, and where it worked: taken out, so that a run's files depend on neither.

What commands write tells when that was and how long it took. Of a run all of this is in ``run.json`` alone; two runs of
one recipe, one of them interrupted, then leave the same files. Benchmarks are left as they are:
times are what they found.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final

from polycompress.evaluation.speed_table import BENCH_KIND
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.leftovers import remove
from polycompress.training.metrics import METRICS_FILE
from polycompress.training.run_files import CONFIG, SNAPSHOTS

TIMES: Final = frozenset(
    {"created", "date", "seconds", "tokens_per_second", "memory_mib", "peak_memory_mib", "machine"}
)
"""Fields that differ from run to run, or from machine to machine; what a process keeps in memory does as well."""
MAX_BYTES: Final = 1 << 26
_DATE: Final = re.compile(r"^- Date: .*\n|(?<=`) on \d{4}-\d\d-\d\d(?=\.$)", re.MULTILINE)
"""In a model's card, and below a table of results."""
_INDENT: Final = re.compile(r"\{\n( +)")
_MASK: Final = "mask.safetensors"
"""Which weights a first training chose; the difference that came of it holds the same."""
_OURS: Final = ("tool", "kind", "seeds")
"""Manifests, runs and results have one of these; a document without is that of another program."""


def take_times(root: Path, place: Path) -> dict[str, Any]:
    """Take times out of all files of an output, and remove what only an interrupted run would go on from.

    Args:
        root: The output, where it was made.
        place: Where it will be: what was made of another part of it says so.

    Returns:
        By file, what was taken.

    Raises:
        StorageError: The disk refused.
    """
    taken: dict[str, Any] = {}
    found: Any
    for path in (found for name in (SNAPSHOTS, _MASK) for found in sorted(root.rglob(name))):
        if (path.parent / CONFIG).exists() and not path.is_symlink():
            remove(path)
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            continue
        name = path.relative_to(root).as_posix()
        if path.name == METRICS_FILE:
            found = _of_lines(path)
        elif path.suffix == ".json":
            found = _of_document(path, str(root), str(place))
        else:
            found = _of_card(path, str(root), str(place)) if path.suffix == ".md" else None
        if found:
            taken[name] = found
    return taken


def split(value: Any) -> tuple[Any, Any]:
    """A JSON value without its times, and the times at their places; None where there are none."""
    if isinstance(value, dict):
        if value.get("kind") == BENCH_KIND:
            return value, None
        rest, times = {}, {}
        for name, each in value.items():
            if name in TIMES and (name == "machine" or not isinstance(each, dict | list)):
                times[name] = each
                continue
            rest[name], found = split(each)
            if found is not None:
                times[name] = found
        return rest, times or None
    if isinstance(value, list):
        pairs = [split(each) for each in value]
        found = {str(place): times for place, (_, times) in enumerate(pairs) if times is not None}
        return [rest for rest, _ in pairs], found or None
    return value, None


def _of_lines(path: Path) -> list[Any]:
    pairs = [split(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    times = [found for _, found in pairs]
    if any(times):
        _write(path, "".join(json.dumps(rest, ensure_ascii=False) + "\n" for rest, _ in pairs))
    return times if any(times) else []


def moved(value: Any, old: str, new: str) -> Any:
    """A JSON value with paths below one directory as paths below another."""
    if isinstance(value, dict):
        return {name: moved(each, old, new) for name, each in value.items()}
    if isinstance(value, list):
        return [moved(each, old, new) for each in value]
    if isinstance(value, str) and (value == old or value.startswith(old + os.sep)):
        return new + value.removeprefix(old)
    return value


def _of_document(path: Path, root: str, place: str) -> Any:
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    if not isinstance(document, dict) or not any(name in document for name in _OURS):
        return None
    rest, times = split(moved(document, root, place))
    if rest != document:
        indent = _INDENT.match(text)
        _write(
            path,
            json.dumps(rest, ensure_ascii=text.isascii(), indent=len(indent[1]) if indent else None)
            + ("\n" if text.endswith("\n") else ""),
        )
    return times


def _of_card(path: Path, root: str, place: str) -> Any:
    text = path.read_text(encoding="utf-8")
    rest = re.sub(rf"(?<![\w/.-]){re.escape(root)}(?=/)", lambda _: place, _DATE.sub("", text))
    if rest != text:
        _write(path, rest)
    return None


def _write(path: Path, text: str) -> None:
    with atomic_file(path, "w") as file:
        file.write(text)
