"""Where everything in a run comes from: sources, hashes, seeds, versions, and the commands to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from polycompress.modeldir.figures import UNKNOWN, items_of, part_of
from polycompress.pipelines.recipes.directory import RECIPE
from polycompress.report.figures import Table, table
from polycompress.report.whole.models import SOURCE, MadeModel
from polycompress.report.whole.reading import RunFound

AGAIN: Final = "again"
"""The directory that the command to repeat a run writes into."""


def source_facts(run: RunFound, models: Sequence[MadeModel]) -> list[tuple[str, str]]:
    """What the recipe began with."""
    named = {each.name for each in run.finished if each.takes[:1] == (SOURCE,)}
    source: Mapping[str, Any] = next(
        (found for each in models if each.name in named and (found := part_of(each.manifest, "source"))), {}
    )
    tools = dict.fromkeys(str(each.identity.get("tool", UNKNOWN)) for each in run.finished)
    return [
        ("model", run.model),
        ("its name", str(source.get("name") or UNKNOWN)),
        ("its revision", str(source.get("revision") or UNKNOWN)),
        ("its licence", str(source.get("license") or UNKNOWN)),
        ("its type", str(source.get("model_type") or UNKNOWN)),
        ("polycompress", ", ".join(tools) or UNKNOWN),
        ("seeds", ", ".join(_seeds(models)) or "none, nothing was left to chance"),
    ]


def hash_table(run: RunFound) -> Table | None:
    """SHA-256 of all that stages read from outside of the run, each once."""
    found: dict[tuple[str, str, str], None] = {}
    for stage in run.finished:
        found.update(dict.fromkeys(_hashes(stage.identity)))
    return table(("what", "file", "SHA-256"), list(found), words=3) if found else None


def key_table(run: RunFound) -> Table:
    """The keys of stages: SHA-256 of all that decides what they leave."""
    return table(("stage", "key"), [(each.name, each.key) for each in run.finished], words=2)


def commands(run: RunFound) -> list[tuple[str, str]]:
    """How to do it again, from the run's directory: all at once, and each stage alone."""
    return [
        ("all stages", shlex.join(["polycompress", "run", RECIPE, "--out", AGAIN])),
        *((each.name, shlex.join(each.typed)) for each in run.finished if each.typed),
    ]


def version_facts(run: RunFound, files: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Versions of packages, as results name them and, where it is shown, ``run.json``; the machine likewise."""
    versions: dict[str, dict[str, None]] = {}
    for found in (*files, *([run.times] if run.times else [])):
        for name, value in part_of(found, "versions").items():
            versions.setdefault(str(name), {})[str(value)] = None
    facts = [(name, " and ".join(values)) for name, values in versions.items()]
    if run.times is not None:
        facts += [(str(name), str(value)) for name, value in part_of(run.times, "machine").items()]
    return facts


def _seeds(models: Sequence[MadeModel]) -> Iterator[str]:
    for each in models:
        if (seed := each.manifest.get("seed")) is not None:
            yield f"{each.name} {seed}"


def _hashes(identity: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    models = [*items_of(identity, "models"), *part_of(identity, "named").values()]
    for each in models:
        if isinstance(each, Mapping) and "model" in each:
            for name, digest in part_of(each, "files").items():
                yield str(each["model"]), str(name), str(digest)
    for option, texts in part_of(identity, "texts").items():
        for each in texts if isinstance(texts, list) else ():
            language, files = each if isinstance(each, list) and len(each) == 2 else ("", [])
            yield from _listed(f"{option} {language}".strip(), files)
    for option, paths in part_of(identity, "files").items():
        for files in paths if isinstance(paths, list) else ():
            yield from _listed(str(option), files)
    examples = items_of(identity, "examples")
    yield from _listed("examples", examples)


def _listed(what: str, files: Any) -> Iterator[tuple[str, str, str]]:
    for each in files if isinstance(files, list) else ():
        if isinstance(each, list) and len(each) == 2:
            yield what, str(each[0]), str(each[1])
