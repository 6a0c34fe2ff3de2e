"""Write a model with its new tokens, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polycompress.languages import find_language
from polycompress.languages.finding import lookup_language
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.directory import copied_files, safe_file, stale_files
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.ofa_card import render_ofa_card
from polycompress.modeldir.rawio import copy_file
from polycompress.modeldir.rewriting import write_exchanged
from polycompress.pipelines.factorising.writing import base_manifest, factorised_config
from polycompress.pipelines.initialising.configs import Configs
from polycompress.pipelines.initialising.spaces import GivenVectors
from polycompress.pipelines.initialising.tables import Factorised, new_entries
from polycompress.pipelines.initialising.target import Target
from polycompress.pipelines.initialising.tokens_plan import TokensPlan
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.vocab.document import dump_document


def write_model(
    opened: OpenModel,
    target: Target,
    plan: TokensPlan,
    made: Factorised | None,
    configs: Configs,
    manifest: dict[str, Any],
    out: Path,
    *,
    seed: int,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the model directory.

    Rows over the vocabulary are made block by block while they are written, so memory is needed for the plan, and for
    the factors where there are any, not for a dense table.

    Args:
        opened: The source.
        target: The new tokenizer.
        plan: What rows are made of.
        made: The factors, where the table becomes factorised.
        configs: Files of settings.
        manifest: The facts so far, see ``facts``; what only writing shows is added.
        out: The directory.
        seed: Of drawn rows.
        overwrite: Whether an existing directory is replaced.
        progress: Told of the work.

    Returns:
        The manifest.

    Raises:
        InputError: A row is larger than the table's type holds; nothing was left behind.
        StorageError: It could not be written; nothing was left behind.
    """
    root = opened.source.path
    total = manifest["sizes"]["after"]["bytes"]
    tell = (lambda amount: progress("writing weights", amount, total)) if progress is not None else None
    with atomic_directory(out, overwrite=overwrite) as building:
        entries = new_entries(opened, plan, made, seed)
        report = write_exchanged(opened.checkpoint, building, entries, progress=tell)
        _write_json(building / "config.json", final_config(configs.config, made))
        if configs.generation is not None:
            _write_json(building / "generation_config.json", configs.generation)
        (building / "tokenizer.json").write_bytes(dump_document(target.document))
        _write_json(building / "tokenizer_config.json", configs.tokenizer)
        copied = copied_files(root)
        for name in copied:
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(safe_file(root, name), building / name)
        manifest["copied"] = copied
        manifest["not_copied"] = stale_files(root)
        manifest["sizes"]["after"]["bytes"] = report.nbytes
        write_manifest(building, manifest)
        (building / "README.md").write_text(render_ofa_card(manifest), encoding="utf-8")
    return manifest


def final_config(config: Mapping[str, Any], made: Factorised | None) -> dict[str, Any]:
    """``config.json``, of a factorised model where the table becomes one."""
    if made is None:
        return dict(config)
    return factorised_config(config, made.factors.rank, made.plain.config)


def facts(
    opened: OpenModel,
    target: Target,
    plan: TokensPlan,
    made: Factorised | None,
    given: GivenVectors | None,
    configs: Configs,
    *,
    sizes: Mapping[str, Mapping[str, int]],
    settings: Mapping[str, Any],
    seed: int,
    notes: Sequence[str],
    command: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What the manifest says, as far as it is known before writing."""
    config = final_config(configs.config, made)
    manifest = base_manifest(opened, config, command, settings, progress)
    codes = [str(each.get("code")) for each in manifest.get("languages", []) if isinstance(each, Mapping)]
    manifest["languages"] = _languages([*codes, *(each.code for each in target.languages)])
    manifest["seed"] = seed
    manifest["sizes"] = {when: dict(size) for when, size in sizes.items()}
    manifest["ofa"] = {
        **plan.as_dict(),
        "paper": plan.way.paper,
        "rows": plan.size,
        "tokenizer": {
            "name": target.name,
            "extended": target.extended,
            "type": target.opened.kind,
            "sha256": target.opened.sha256,
        },
        "vectors": None if given is None else given.as_dict(),
        "costs": [each.as_dict() for each in target.costs],
        "changes": [each.as_dict() for each in target.changes],
    }
    if made is not None:
        manifest["factorisation"] = {**made.as_dict(), "rows": plan.size, "split": settings["split"]}
    manifest["notes"] = list(notes)
    return manifest


def _languages(codes: Sequence[str]) -> list[dict[str, str]]:
    known = [find_language(code) for code in dict.fromkeys(codes) if lookup_language(code) is not None]
    return [{"code": each.code, "name": each.name} for each in known]


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
