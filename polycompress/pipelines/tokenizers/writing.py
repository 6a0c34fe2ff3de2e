"""Tokenizers on disk: a directory that Hugging Face's libraries load, with its manifest and card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.sources import ModelSource
from polycompress.modeldir.tokenizer_config import remap_special_tokens_map, remap_tokenizer_config
from polycompress.pipelines.tokenizers.opening import OpenTokenizer
from polycompress.vocab.document import dump_document, model_type


def write_tokenizer(
    out: Path,
    document: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    card: str,
    source: ModelSource | None = None,
    roles: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write a tokenizer directory, whole or not at all.

    Args:
        out: The directory.
        document: Of ``tokenizer.json``.
        record: Facts for the manifest.
        card: README.md.
        source: Whose configuration is carried over, with special tokens and limits.
        roles: Role -> special token, where there is no source.
        overwrite: Whether an existing directory is replaced.

    Returns:
        Notes on what could not be carried over.

    Raises:
        StorageError: It could not be written; nothing was left behind.
    """
    config: Mapping[str, Any] | None = roles
    # BERT's templates number their segments, so its models are given the numbers.
    model_config: Mapping[str, Any] = {"model_type": "bert"} if model_type(document) == "wordpiece" else {}
    special: dict[str, Any] | None = None
    if source is not None:
        config = read_json(source.path, "tokenizer_config.json", required=False)
        model_config = read_json(source.path, "config.json", required=False) or {}
        special = read_json(source.path, "special_tokens_map.json", required=False)
    written, notes = remap_tokenizer_config(
        config, document, model_config=model_config, special_tokens_map=special
    )
    with atomic_directory(out, overwrite=overwrite) as building:
        (building / "tokenizer.json").write_bytes(dump_document(document))
        _write_json(building / "tokenizer_config.json", written)
        if special is not None:
            special, more = remap_special_tokens_map(special, document)
            notes += more
            _write_json(building / "special_tokens_map.json", special)
        manifest = {
            "tool": {"name": "polycompress", "version": polycompress.__version__},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **record,
            "notes": notes,
        }
        write_manifest(building, manifest)
        (building / "README.md").write_text(card, encoding="utf-8")
    return notes


def source_record(source: ModelSource, opened: OpenTokenizer) -> dict[str, Any]:
    """Where a tokenizer came from, for the manifest."""
    return {
        "spec": source.spec,
        "name": source.name,
        "revision": source.revision,
        "files": {"tokenizer.json": opened.sha256},
    }


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
