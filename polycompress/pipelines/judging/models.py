"""Which model directories are judged together: one, or the seeds of a run, and what is known of them."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.axes import find_vocab_axes, parameter_parts
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import file_sha256, read_json
from polycompress.modeldir.exported import graph_bytes, graph_files, is_exported, stated_parameters
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import MANIFEST_FILE, read_manifest
from polycompress.modeldir.sources import resolve_model
from polycompress.training.run_files import FINAL

_SETTINGS: Final = ("tokenizer_config.json", "modules.json", "config_sentence_transformers.json")
"""Files that a directory may have and that decide about lengths, pooling and prompts."""
_SEED: Final = re.compile(r"seed-(\d{1,18})", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedModel:
    """What was asked for, found."""

    spec: str
    name: str
    paths: tuple[Path, ...]
    """A model directory for each seed."""
    seeds: tuple[int, ...]
    task: str | None
    """That it was tuned for, where its manifest says so."""
    trained_on: tuple[str, ...]
    """Codes of the languages that it was tuned in."""
    protocol: str | None
    """What it was tuned on, in the words of the task's file."""

    def fingerprints(self) -> list[str]:
        """Say of each seed whether it is the same model: a SHA-256 over its files."""
        return [_fingerprint(path) for path in self.paths]

    def facts(self) -> dict[str, Any]:
        """For a result file; sizes are those of the first seed."""
        path = self.paths[0]
        manifest = path / MANIFEST_FILE
        return {
            "name": self.name,
            "path": self.spec,
            "manifest_sha256": file_sha256(path, MANIFEST_FILE) if manifest.is_file() else None,
            "tuned_for": self.task,
            "trained_on": list(self.trained_on),
            **model_size(path),
        }


def find_models(model: str | os.PathLike[str]) -> JudgedModel:
    """Find a model, or all seeds of a run of ``polycompress finetune``.

    Args:
        model: A model directory, the directory of a run (``final/``, or ``seed-N/final/``), the word ``demo``, or
            ``owner/name[@revision]``.

    Raises:
        InputError: There is no such thing, or a seed of the run is not finished.
    """
    spec = os.fspath(model)
    folder = Path(spec)
    if spec and folder.is_dir():
        seeds = _seed_folders(folder)
        if seeds:
            return _found(spec, folder.resolve().name, tuple(seeds.values()), tuple(seeds))
        if (folder / FINAL).is_dir():
            return _found(spec, folder.resolve().name, (folder / FINAL,), None)
    source = resolve_model(spec)
    return _found(spec, source.name, (source.path,), None)


def find_teacher(teacher: str | os.PathLike[str]) -> JudgedModel:
    """Find the one model that loyalty is to.

    Raises:
        InputError: There is no such thing, or it is a run of several seeds.
    """
    found = find_models(teacher)
    if len(found.paths) > 1:
        raise InputError(
            f"{found.spec}: has {len(found.paths)} seeds, but loyalty is to one model. Give one, such as "
            f"{found.paths[0]}."
        )
    return found


def model_size(path: Path) -> dict[str, Any]:
    """Parameters and bytes of a model directory's weights, of a graph the parameters that its manifest states."""
    if is_exported(path):
        known = stated_parameters(path)
        return {
            "parameters": {name: known[name] for name in ("total", "embedding")},
            "bytes": graph_bytes(path),
        }
    config = read_json(path, "config.json")
    assert config is not None
    checkpoint = open_checkpoint(path)
    tensors = checkpoint.tensors
    try:
        parts = parameter_parts(config, tensors, find_vocab_axes(config, tensors, 0))
        parameters = {"total": sum(parts.values()), "embedding": parts["embeddings"]}
    except InputError:  # a family that trimming does not know can be judged all the same
        parameters = {"total": sum(math.prod(info.shape) for info in tensors.values()), "embedding": 0}
    return {
        "parameters": {**parameters, "embedding": parameters["embedding"] or None},
        "bytes": sum((path / name).stat().st_size for name in checkpoint.files),
    }


def _fingerprint(path: Path) -> str:
    names = ["config.json", ensure_tokenizer_json(path).name, *_weight_files(path)]
    names += [name for name in _SETTINGS if (path / name).is_file()]
    modules = (file.relative_to(path).as_posix() for file in path.glob("[0-9]*_*/*"))
    names += sorted(name for name in modules if name.endswith((".json", ".safetensors")))
    return hashlib.sha256("".join(file_sha256(path, name) for name in names).encode()).hexdigest()


def _weight_files(path: Path) -> list[str]:
    """Names of the files with the model's numbers: safetensors, or a graph."""
    return sorted(graph_files(path) if is_exported(path) else open_checkpoint(path).files)


def _found(spec: str, name: str, paths: tuple[Path, ...], seeds: tuple[int, ...] | None) -> JudgedModel:
    manifest: Mapping[str, Any] = read_manifest(paths[0]) or {}
    tuned = part_of(manifest, "finetuning")
    languages = tuned.get("train_languages")
    task, seed, protocol = (tuned.get(name) for name in ("task", "seed", "protocol"))
    return JudgedModel(
        spec=spec,
        name=name,
        paths=paths,
        seeds=seeds if seeds is not None else (seed if isinstance(seed, int) else 0,),
        task=task if isinstance(task, str) else None,
        trained_on=tuple(map(str, languages)) if isinstance(languages, list) else (),
        protocol=protocol if isinstance(protocol, str) else None,
    )


def _seed_folders(folder: Path) -> dict[int, Path]:
    """The finished model of each seed, in the order of the seeds."""
    found = {}
    for entry in folder.iterdir():
        match = _SEED.fullmatch(entry.name)
        if match is None or not entry.is_dir():
            continue
        if not (entry / FINAL).is_dir():
            raise InputError(
                f"{entry}: this seed is not finished: there is no {FINAL}/ in it. Go on with `polycompress "
                "finetune ... --resume`, or give the directory of one seed."
            )
        found[int(match[1])] = entry / FINAL
    return dict(sorted(found.items()))
