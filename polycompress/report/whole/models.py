"""The models of a run: what each is made of, and how large it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.results import number
from polycompress.modeldir.figures import UNKNOWN, count, parameters, part_of, size
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.paths import safe_path
from polycompress.report.bars import Bar, bars
from polycompress.report.figures import Figure, table
from polycompress.report.result_files import Judged
from polycompress.report.whole.reading import RunFound, StageFound
from polycompress.training.run_files import FINAL

SOURCE: Final = "model"
"""What stages call the recipe's own model."""
_WEIGHTS: Final = (".safetensors", ".onnx", ".data")


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeModel:
    """A model of the run: the recipe's own, or what a stage left."""

    name: str
    """Of the stage; ``model`` is the recipe's own."""
    made_by: str
    """A command; empty for the recipe's own."""
    parameters: int | None
    active: int | None
    """Parameters that one token meets."""
    embedding: int | None
    """Parameters of the input table."""
    vocab: int | None
    bytes: int | None
    """Of the weights, on disk."""
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        names = ("name", "made_by", "parameters", "active", "embedding", "vocab", "bytes")
        return {name: getattr(self, name) for name in names}


def models_of(run: RunFound, judged: Sequence[Judged]) -> tuple[tuple[MadeModel, ...], tuple[str, ...]]:
    """The models of a run, its own first, and what could not be read of them.

    Args:
        run: The run.
        judged: What evaluations found, which know sizes that manifests leave out.
    """
    made: list[MadeModel] = []
    notes: list[str] = []
    source: Mapping[str, Any] = {}
    for stage in run.finished:
        if not stage.makes_model:
            continue
        folder, manifest, fault = _opened(run, stage)
        notes += [fault] if fault else []
        if stage.takes[:1] == (SOURCE,) and not source:
            source = part_of(part_of(manifest, "sizes"), "before")
        measured = [each.model for each in judged if run.stage_at(each.model.path) is stage]
        known = {"parameters": measured[0].parameters, "embedding": measured[0].embedding} if measured else {}
        made.append(_made(stage, folder, manifest, known))
    return (_sized(SOURCE, "", source, {}, None), *made), tuple(notes)


def model_folder(run: RunFound, stage: StageFound) -> Path:
    """Where in a stage's output its model lies; of several seeds the first.

    Raises:
        InputError: It is a link that leads out of the run.
    """
    seeds = sorted(stage.place.glob(f"seed-*/{FINAL}"))
    found = next((each for each in (stage.place / FINAL, *seeds[:1]) if each.is_dir()), stage.place)
    return safe_path(run.root, found.relative_to(run.root).as_posix())


def size_figure(models: Sequence[MadeModel]) -> Figure | None:
    """Sizes as a picture: bytes of the weights, and how much of them the input table is."""
    sized = [each for each in models if each.bytes]
    if len(sized) < 2:
        return None
    rows = [
        Bar(
            each.name,
            float(each.bytes or 0),
            each.embedding / each.parameters if each.embedding and each.parameters else None,
            f"{size(each.bytes)}{f', {count(each.parameters)} parameters' if each.parameters else ''}",
        )
        for each in sized
    ]
    keys = (("weights", "key-0 box"), ("of them the input table", "key-1 box"))
    return Figure(
        "Size of the weights",
        bars("Size of the weights of each model", rows),
        model_table(models),
        keys if any(each.part is not None for each in rows) else (),
        "The input table's share is that of its parameters, where it is known.",
    )


def model_table(models: Sequence[MadeModel]) -> Any:
    """Sizes in numbers, beside each what is left of the first's."""
    first = models[0]
    rows = [
        (
            each.name,
            each.made_by or "the recipe's own",
            _beside(each.bytes, first.bytes, size),
            _beside(each.parameters, first.parameters, parameters),
            UNKNOWN if each.active is None else parameters(each.active),
            UNKNOWN if each.embedding is None else parameters(each.embedding),
            count(each.vocab),
        )
        for each in models
    ]
    head = (
        "model",
        "made by",
        "weights",
        "parameters",
        "that a token meets",
        "of the input table",
        "vocabulary",
    )
    with_active = any(each.active is not None and each.active != each.parameters for each in models)
    if not with_active:
        rows = [(*row[:4], *row[5:]) for row in rows]  # type: ignore[misc]
        head = (*head[:4], *head[5:])  # type: ignore[assignment]
    return table(head, rows, words=2)


def _made(
    stage: StageFound, folder: Path, manifest: Mapping[str, Any], known: Mapping[str, Any]
) -> MadeModel:
    after = part_of(part_of(manifest, "sizes"), "after") or part_of(part_of(stage.result, "sizes"), "after")
    sizes = {**known, **{name: value for name, value in after.items() if value is not None}}
    return _sized(stage.name, stage.do, {**known, **sizes}, manifest, _weights(folder))


def _sized(
    name: str, made_by: str, sizes: Mapping[str, Any], manifest: Mapping[str, Any], weights: int | None
) -> MadeModel:
    return MadeModel(
        name=name,
        made_by=made_by,
        parameters=_whole(sizes.get("parameters")),
        active=_whole(sizes.get("active_parameters")),
        embedding=_whole(sizes.get("embedding_parameters", sizes.get("embedding"))),
        vocab=_whole(sizes.get("vocab")),
        bytes=weights or _whole(sizes.get("bytes")),
        manifest=manifest,
    )


def _opened(run: RunFound, stage: StageFound) -> tuple[Path, Mapping[str, Any], str]:
    """A stage's model, its manifest, and what is wrong with it."""
    try:
        folder = model_folder(run, stage)
        return folder, read_manifest(folder) or {}, ""
    except InputError as error:
        return stage.place, {}, f"left out: {error}"


def _weights(folder: Path) -> int | None:
    found = [
        path.stat().st_size
        for path in sorted(folder.glob("*"))
        if path.name.endswith(_WEIGHTS) and path.is_file() and not path.is_symlink()
    ]
    return sum(found) or None


def _whole(value: object) -> int | None:
    found = number(value, 0, 1e15)
    return None if found is None else int(found)


def _beside(value: int | None, first: int | None, write: Any) -> str:
    if value is None:
        return UNKNOWN
    text = str(write(value))
    return f"{text}, {value / first:.0%}" if first and value != first else text
