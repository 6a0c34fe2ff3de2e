"""Write an encoder in the layout of sentence-transformers; no weight is touched and torch is not needed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory, check_output
from polycompress.modeldir.axes_table import FAMILIES, base_type, is_moe
from polycompress.modeldir.directory import copied_files
from polycompress.modeldir.exported import is_exported
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rewriting import copy_beside, write_exchanged
from polycompress.modeldir.sentence_card import render_sentence_card
from polycompress.modeldir.sentence_modules import MODES, MODULES_FILE, write_modules
from polycompress.modeldir.sources import resolve_model
from polycompress.modeldir.tensors import Checkpoint, open_checkpoint
from polycompress.pipelines.exporting.record import base_record, write_settings, write_tokenizer
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import architectures
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model

_WIDTHS: Final = ("hidden_size", "d_model", "dim", "n_embd")
"""Fields of configurations that say how wide hidden states are."""
_LONGEST: Final = 512
_WITH_POOLER: Final = ("bert", "roberta", "xlm-roberta", "camembert")
"""Families whose classes can be told to make no pooler."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentenceResult:
    """What was written."""

    out: Path
    source: str
    pooling: str | None
    """Way of pooling; None: the source's own modules were kept."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"out": str(self.out), "source": self.source, "pooling": self.pooling}


def export_sentence_transformers(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    pooling: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> SentenceResult:
    """Write a model so that sentence-transformers loads it, to the vectors that ``evaluate`` compares.

    Args:
        model: An encoder: a directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub. Its
            head, if it has one, stays in the files and is not used.
        out: The directory to write.
        pooling: Of a model that has no ``modules.json``; None: the mean.
        overwrite: Replace an existing output.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: The model cannot be written so, or a file is wrong; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    if pooling is not None and pooling not in MODES:
        raise InputError(f"--pooling is {pooling!r}; known are {', '.join(MODES)}")
    root = resolve_model(model).path
    if is_exported(root):
        raise InputError(f"{root}: is an exported graph. Give the model that it was made from.")
    files = find_source_model(model, place)
    _check_kind(files)
    has_modules = safe_file(root, MODULES_FILE).is_file()
    if has_modules and pooling is not None:
        raise InputError(
            f"{root / MODULES_FILE}: says how the model's vectors are made, and is kept: leave --pooling out."
        )
    mode = None if has_modules else pooling or "mean"
    copied_files(root)  # refuses modules that cannot be carried over
    checkpoint = open_checkpoint(root)
    manifest = {
        **base_record(files, command, {"pooling": pooling}),
        "architectures": architectures(files.config),
        "export": {"form": "sentence-transformers", "pooling": mode},
        "notes": list(files.notes),
    }
    with atomic_directory(place, overwrite=overwrite) as building:
        total = sum(info.nbytes for info in checkpoint.tensors.values())
        tell = (lambda amount: progress("copying weights", amount, total)) if progress is not None else None
        write_exchanged(checkpoint, building, {}, progress=tell)
        write_settings(building / "config.json", {k: v for k, v in files.config.items() if k != "auto_map"})
        write_tokenizer(files, building)
        manifest["copied"] = copy_beside(root, building)
        if mode is not None:
            write_modules(
                building,
                mode=mode,
                width=_width(files),
                max_length=_max_length(files),
                model_args=_model_args(files.config, checkpoint),
            )
        write_manifest(building, manifest)
        (building / "README.md").write_text(render_sentence_card(manifest), encoding="utf-8")
    return SentenceResult(out=place, source=files.source.name, pooling=mode)


def _check_kind(files: SourceModel) -> None:
    where = files.path / "config.json"
    if is_moe(str(files.config.get("model_type"))):
        raise InputError(
            f"{where}: the model has experts, which sentence-transformers does not load. Take one family's model "
            f"out of it first: polycompress moe extract {files.source.spec} --family NAME --out DIR"
        )
    if files.config.get("is_encoder_decoder"):
        raise InputError(
            f"{where}: an encoder-decoder gives no vectors of texts by itself. Encoders are exported."
        )


def _width(files: SourceModel) -> int:
    found = next((files.config[name] for name in _WIDTHS if name in files.config), None)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise InputError(
            f"{files.path / 'config.json'}: does not say how wide hidden states are ({', '.join(_WIDTHS)}). Restore it."
        )
    return found


def _max_length(files: SourceModel) -> int | None:
    """Tokens of a text at most: of positions and the tokenizer's own limit the smaller, and never more than 512."""
    config = files.config
    positions = config.get("max_position_embeddings")
    family = FAMILIES.get(base_type(str(config.get("model_type"))))
    if isinstance(positions, int) and family is not None and family.pad_offsets_positions:
        pad = config.get("pad_token_id", family.token_ids.get("pad_token_id", 0))
        positions -= (pad if isinstance(pad, int) else 0) + 1
    limits = [positions, files.tokenizer_config.get("model_max_length"), _LONGEST]
    return min(each for each in limits if isinstance(each, int) and not isinstance(each, bool) and each > 0)


def _model_args(config: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """A pooler that the checkpoint lacks would be drawn at random, for nothing."""
    has_pooler = any("pooler" in name.split(".") for name in checkpoint.tensors)
    can_do_without = base_type(str(config.get("model_type"))) in _WITH_POOLER
    return {"add_pooling_layer": False} if can_do_without and not has_pooler else {}
