"""Read a task's file: ``eval/tasks/README.md`` says what stands in one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast, get_args

from polycompress.evaluation.records import Kind, Split
from polycompress.evaluation.sources.doors import (
    COMMIT,
    FORMATS,
    OPTIONAL,
    REQUIRED,
    SPLITS,
    Format,
    HubDoor,
    LocalDoor,
)
from polycompress.evaluation.sources.templates import PLACEHOLDERS, read_name
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.toml_tables import Table, near, read_table, report
from polycompress.languages.finding import lookup_language

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
METRICS: Final[Mapping[Kind, str]] = {
    "pair-classification": "accuracy",
    "text-classification": "accuracy",
    "token-classification": "entity-f1",
    "question-answering": "squad-f1",
    "retrieval": "retrieval-accuracy",
    "word-translation": "precision-at-1",
}
"""The metric of each kind."""
_LABELLED: Final = ("pair-classification", "text-classification", "token-classification")
_ID: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_DATASET: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_TAG: Final = re.compile(r"O|[BI]-\S+")


def read_task(path: Path) -> TaskSpec:
    """The task that a file describes.

    Raises:
        InputError: With every fault of the file: unknown fields and their nearest match, missing fields and columns,
            wrong types, unknown languages, labels that are listed twice, and so on.
    """
    table = read_table(path)
    kind = cast("Kind | None", table.choice("kind", KINDS))
    labels = _labels(table, kind)
    local, hub = table.table("local"), table.table("hub")
    if local is None and hub is None:
        table.fault("neither [local] nor [hub]: say where the examples come from.")
    fields: dict[str, Any] = {
        "id": _id(table, path),
        "name": table.text("name"),
        "kind": kind,
        "labels": labels,
        "metric": _metric(table, kind),
        "chance": _chance(table),
        "pivot": _pivot(table, kind),
        "parallel": table.truth("parallel"),
        "split_by": _split_by(table, kind),
        "protocol": table.text("protocol"),
        "train_from": table.text("train_from"),
        "comparable": _comparable(table),
        "licence": table.text("licence"),
        "citation": table.text("citation"),
        "no_hub": table.optional_text("no_hub"),
    }
    local_door = _local(local, kind, labels) if local is not None else None
    hub_door = _hub(hub, kind, labels) if hub is not None else None
    table.finish()
    report(path, table.faults)
    return TaskSpec(**fields, local=local_door, hub=hub_door, path=path)


def _id(table: Table, path: Path) -> str:
    value = table.text("id")
    if value and (not _ID.fullmatch(value) or value != path.stem):
        table.fault(
            f"id is {value!r}: give the file's name without .toml, in small letters, digits and hyphens."
        )
    return value


def _labels(table: Table, kind: Kind | None) -> tuple[str, ...]:
    labelled = kind in _LABELLED
    labels = table.texts("labels", None if labelled else ())
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            table.fault(f"labels: {label!r} is listed {labels.count(label)} times.")
    if labels and kind and not labelled:
        table.fault(f"labels: a task of the kind {kind} has none.")
    if kind == "token-classification":
        wrong = [label for label in labels if not _TAG.fullmatch(label)]
        lonely = [label for label in labels if label.startswith("I-") and f"B{label[1:]}" not in labels]
        if wrong or lonely or (labels and labels[0] != "O"):
            bad = ", ".join(wrong + lonely) or labels[0]
            table.fault(f"labels: {bad}: give IOB2 tags, O first, then B-X and I-X of each type.")
    return labels


def _metric(table: Table, kind: Kind | None) -> str | None:
    value = table.choice("metric", tuple(dict.fromkeys(METRICS.values())))
    if kind and value and value != METRICS[kind]:
        table.fault(f"metric is {value!r}: that of the kind {kind} is {METRICS[kind]}.")
    return value


def _chance(table: Table) -> float | None:
    value = table.number("chance")
    if value is not None and not 0 <= value < 1:
        table.fault(f"chance is {value}: give a share from 0 to 1.")
    return value


def _pivot(table: Table, kind: Kind | None) -> str | None:
    value = table.optional_text("pivot")
    needed = kind in ("retrieval", "word-translation")
    if value is None:
        if needed:
            table.fault("pivot is missing: give the code of the language that the others are compared with.")
        return None
    if kind and not needed:
        table.fault(f"pivot: a task of the kind {kind} has none.")
    found = lookup_language(value)
    if found is None or found.code != value:
        table.fault(f"pivot is {value!r}: give a code of languages/registry.tsv, such as eng-Latn.")
    return value


def _split_by(table: Table, kind: Kind | None) -> str | None:
    if not table.has("split_by"):
        return table.optional_text("split_by")
    if kind not in (None, "question-answering"):
        table.fault(f"split_by: a task of the kind {kind} has no paragraphs.")
    return table.choice("split_by", ("paragraph",))


def _comparable(table: Table) -> bool | str:
    return True if table.is_true("comparable") else table.text("comparable")


def _local(table: Table, kind: Kind | None, labels: tuple[str, ...]) -> LocalDoor:
    form = cast("Format", table.choice("format", FORMATS) or "tsv")
    files = _splits(table, "files")
    for templates in files.values():
        for template in templates:
            _check_template(table, template)
    where_table = table.table("where")
    split_column, where = None, {}
    if where_table is not None:
        split_column = where_table.text("column")
        where = {split: where_table.text(split) for split in files}
        where_table.finish()
    columns = _columns(table, kind, needed=form == "tsv")
    door = LocalDoor(
        format=form,
        files=files,
        columns=columns,
        where=where,
        split_column=split_column,
        rename=_rename(table, labels),
        codes=_codes(table),
    )
    table.finish()
    return door


def _hub(table: Table, kind: Kind | None, labels: tuple[str, ...]) -> HubDoor:
    dataset, revision = table.text("dataset"), table.optional_text("revision")
    if dataset and not _DATASET.fullmatch(dataset):
        table.fault(f"dataset is {dataset!r}: give owner/name.")
    if revision is not None and not COMMIT.fullmatch(revision):
        table.fault(f"revision is {revision!r}: give a commit, 40 hexadecimal digits.")
    config = table.optional_text("config")
    configs = table.texts("configs")
    codes = _codes(table)
    for name in configs:
        if read_name(config or "{language}", name, codes) is None:
            table.fault(f"configs: {name!r} holds no known language (template {config or '{language}'}).")
    rename = _rename(table, labels)
    names = table.texts("names", ())
    unknown = [name for name in names if rename.get(name, name) not in labels]
    if unknown:
        table.fault(
            f"names: {', '.join(unknown)}: none of the labels ({', '.join(labels)}), nor under rename."
        )
    door = HubDoor(
        dataset=dataset,
        revision=revision,
        config=config,
        configs=configs,
        splits=_splits(table, "splits"),
        columns=_columns(table, kind, needed=True),
        names=names,
        rename=rename,
        codes=codes,
        protocol=table.optional_text("protocol"),
        train_from=table.optional_text("train_from"),
    )
    table.finish()
    return door


def _splits(table: Table, name: str) -> dict[Split, tuple[str, ...]]:
    below = table.table(name)
    if below is None:
        table.fault(f"{name} is missing: give the {name} of train, dev and test.")
        return {}
    found = {split: below.texts(split) for split in SPLITS if below.has(split)}
    if "test" not in found:
        below.fault("test is missing: give text or a list of texts.")
    below.allow(*SPLITS)
    below.finish()
    return found


def _columns(table: Table, kind: Kind | None, *, needed: bool) -> dict[str, str]:
    columns = table.mapping("columns")
    if kind is None:
        return columns
    known = (*REQUIRED[kind], *OPTIONAL[kind])
    for name in columns:
        if name not in known:
            table.fault(f"columns.{name} is no value of the kind {kind}.{near(name, known)}")
    missing = [name for name in REQUIRED[kind] if name not in columns] if needed else []
    if missing:
        table.fault(f"columns: {', '.join(missing)} is missing: name the column.")
    if not needed and columns:
        table.fault("columns: only a tsv file has them.")
    return columns


def _rename(table: Table, labels: tuple[str, ...]) -> dict[str, str]:
    rename = table.mapping("rename")
    for name, label in rename.items():
        if label not in labels:
            table.fault(f"rename.{name} is {label!r}: none of the labels.{near(label, labels)}")
    return rename


def _codes(table: Table) -> dict[str, str]:
    codes = table.mapping("codes")
    for name, code in codes.items():
        found = lookup_language(code)
        if found is None or found.code != code:
            table.fault(f"codes.{name} is {code!r}: give a code of languages/registry.tsv, such as srp-Latn.")
    return codes


def _check_template(table: Table, template: str) -> None:
    path = PurePosixPath(template)
    bare = template
    for name in PLACEHOLDERS:
        bare = bare.replace(name, "")
    if path.is_absolute() or ".." in path.parts or set(bare) & set("*?[]\\"):
        table.fault(f"files: {template!r}: give a path below the data directory, without .. and wildcards.")
    if template.count("{language}") != 1 or template.count("{subset}") > 1 or "{" in bare:
        table.fault(f"files: {template!r}: {{language}} must be in it once, {{subset}} at most once.")
