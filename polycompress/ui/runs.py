"""What lies under a directory of runs: recipes' runs, training runs, results, models; none of it is trusted."""

from __future__ import annotations

import datetime
import fcntl
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from polycompress.errors import InputError
from polycompress.evaluation.results import KIND, MAX_RESULT_BYTES
from polycompress.evaluation.speed_table import BENCH_KIND
from polycompress.modeldir.checkpoint import INDEX_FILE, SINGLE_FILE
from polycompress.modeldir.exported import GRAPH_FILE
from polycompress.modeldir.figures import items_of, language_entries, part_of
from polycompress.modeldir.manifest import MANIFEST_FILE, read_manifest
from polycompress.modeldir.paths import load_json, read_json, safe_file
from polycompress.pipelines.distilling.recipe_yaml import read_document
from polycompress.pipelines.recipes.directory import LOCK, RECIPE, RUN, STAGES, WORK, read_note
from polycompress.training.metrics import METRICS_FILE
from polycompress.training.run_files import CONFIG, FINAL, SNAPSHOTS

Kind = Literal["recipe", "training", "results", "model"]
State = Literal["finished", "interrupted", "running", "damaged"]

MAX_ENTRIES: Final = 500
MAX_DEPTH: Final = 6
_MAX_FILES: Final = 2000
"""Of a directory, what is looked at for results."""
_WEIGHTS: Final = (SINGLE_FILE, INDEX_FILE, GRAPH_FILE)
_SHOWN: Final = 200
"""Characters of a name from a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of the table."""

    name: str
    """Its path below the directory of runs, with ``/`` between folders; ``.`` for that directory itself."""
    path: Path
    kind: Kind
    state: State
    models: tuple[str, ...] = ()
    """What it was made from, or what was judged."""
    languages: tuple[str, ...] = ()
    bytes: int = 0
    """Of all files in it."""
    date: str = ""
    """ISO 8601: of the making where that is known, else of the newest file."""
    note: str = ""
    """What is wrong with it."""


def find_entries(root: Path) -> list[Entry]:
    """Everything under a directory that has a place in the table, by name.

    Runs of recipes are followed by their stages. Links to directories are not followed, hidden folders not entered.

    Args:
        root: The directory of runs; it may be a run itself.

    Raises:
        InputError: It is missing or no directory.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such directory"
        raise InputError(f"{root}: {what}. Give a directory of runs, or models to compare: --model MODEL")
    places = itertools.islice(_walk(root), MAX_ENTRIES)
    return sorted((_entry(root, folder, kind) for folder, kind in places), key=lambda each: each.name)


def kind_of(folder: Path) -> Kind | None:
    """What a directory is; None: nothing that is known."""
    if (folder / RECIPE).is_file() and ((folder / STAGES).is_dir() or (folder / RUN).is_file()):
        return "recipe"
    if any((folder / name).exists() for name in _WEIGHTS) and (folder / "config.json").is_file():
        return "model"
    begun = any((folder / name).exists() for name in (METRICS_FILE, FINAL, SNAPSHOTS))
    if (folder / CONFIG).is_file() and begun:
        return "training"
    return "results" if any(_results(folder)) else None


def is_locked(run: Path) -> bool:
    """Whether a process is at work in the run of a recipe."""
    try:
        descriptor = os.open(run / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _walk(folder: Path, depth: int = 0) -> Iterator[tuple[Path, Kind]]:
    """A directory and those below it that are something; models and results are not entered."""
    kind = kind_of(folder)
    if kind is not None:
        yield folder, kind
    if kind == "recipe":
        yield from _walk(folder / STAGES, depth + 1)
    elif kind == "training":
        yield from _walk(folder / FINAL, depth + 1)
    elif kind is None and depth < MAX_DEPTH:
        for child in _children(folder):
            yield from _walk(child, depth + 1)


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                each.name
                for each in entries
                if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")
            ]
    except OSError:  # missing, or not ours to enter
        return []
    return [folder / name for name in sorted(names)[:MAX_ENTRIES]]


def _entry(root: Path, folder: Path, kind: Kind) -> Entry:
    size, newest = _measure(folder)
    name = folder.relative_to(root).as_posix()
    try:
        found = _READERS[kind](folder)
    except (InputError, OSError) as error:
        return Entry(
            name=name, path=folder, kind=kind, state="damaged", bytes=size, date=newest, note=str(error)
        )
    return Entry(name=name, path=folder, kind=kind, bytes=size, **{"date": newest, **found})


def _recipe(folder: Path) -> dict[str, Any]:
    values = read_document(safe_file(folder, RECIPE)).values
    stages = part_of(read_note(safe_file(folder, RUN)), "stages")
    began = [str(each["began"]) for each in stages.values() if isinstance(each, dict) and each.get("began")]
    busy, left = is_locked(folder), (folder / WORK).exists()
    model = values.get("model")
    return {
        "state": "running" if busy else "interrupted" if left or not stages else "finished",
        "models": (_short(model),) if isinstance(model, str) else (),
        "languages": tuple(_short(each) for each in items_of(values, "languages")[:_SHOWN]),
        **({"date": max(began)[:40]} if began else {}),
    }


def _training(folder: Path) -> dict[str, Any]:
    config = read_json(folder, CONFIG) or {}
    return {"state": "finished" if (folder / FINAL).is_dir() else "interrupted", **_made(config)}


def _model(folder: Path) -> dict[str, Any]:
    read_json(folder, "config.json")
    return {"state": "finished", **_made(read_manifest(folder) or {})}


def _judged(folder: Path) -> dict[str, Any]:
    names: dict[str, None] = {}
    codes: dict[str, None] = {}
    for found in _results(folder):
        judged = found.get("model")
        for each in [judged] if isinstance(judged, dict) else items_of(found, "models"):
            name = each.get("name") if isinstance(each, dict) else None
            names |= {_short(name): None} if name else {}
        for row in items_of(found, "scores"):
            if isinstance(row, dict) and "language" in row:
                codes[_short(row["language"])] = None
    return {"state": "finished", "models": tuple(names)[:20], "languages": tuple(codes)[:_SHOWN]}


_READERS: Final = {"recipe": _recipe, "training": _training, "results": _judged, "model": _model}


def _made(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest, or the configuration of a run, says of the making."""
    name, date = part_of(facts, "source").get("name"), facts.get("created")
    codes = [each.get("code") for each in language_entries(facts)]
    return {
        "models": (_short(name),) if isinstance(name, str) else (),
        "languages": tuple(_short(code) for code in codes if isinstance(code, str))[:_SHOWN],
        **({"date": date[:40]} if isinstance(date, str) and date else {}),
    }


def _results(folder: Path) -> Iterator[dict[str, Any]]:
    """What `eval` and `bench` wrote into a directory itself."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(each.name for each in itertools.islice(entries, _MAX_FILES) if _may_be_one(each))
    except OSError:
        return
    for name in names:
        try:
            path = safe_file(folder, name)
            found = load_json(path.read_bytes(), path)
        except (InputError, OSError):
            continue
        if isinstance(found, dict) and found.get("kind") in (KIND, BENCH_KIND):
            yield found


def _may_be_one(entry: os.DirEntry[str]) -> bool:
    named = entry.name.endswith(".json") and entry.name not in (CONFIG, MANIFEST_FILE, RUN)
    return named and entry.is_file(follow_symlinks=False) and entry.stat().st_size <= MAX_RESULT_BYTES


def _measure(folder: Path) -> tuple[int, str]:
    """Bytes of all files, and when the newest was written."""
    size, newest = 0, 0.0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(place, name))  # noqa: PTH118  thousands of files
            except OSError:
                continue
            size += found.st_size
            newest = max(newest, found.st_mtime)
    when = datetime.datetime.fromtimestamp(newest, datetime.UTC)
    return size, when.isoformat(timespec="seconds") if newest else ""


def _short(value: object) -> str:
    return str(value)[:_SHOWN]
