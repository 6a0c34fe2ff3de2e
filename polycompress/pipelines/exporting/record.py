"""What every form of export writes and records, without loading a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polycompress
from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.tuning.source_model import SourceModel

_KEPT: Final = ("finetuning", "languages", "layers", "student", "factorisation", "extraction")
"""Parts of the source's manifest that are true of what is exported as well."""


def write_tokenizer(files: SourceModel, out: Path) -> None:
    """The tokenizer byte for byte, and a configuration with which every library takes it as it stands."""
    (out / "tokenizer.json").write_bytes(files.tokenizer_json.encode("utf-8"))
    write_settings(out / "tokenizer_config.json", files.tokenizer_config)


def write_settings(path: Path, value: Mapping[str, Any]) -> None:
    """A file of JSON for people."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def base_record(files: SourceModel, command: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that every form of export records."""
    return {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command),
        "config": dict(settings),
        "seed": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": files.record(),
        **known_before(files.path),
    }


def known_before(root: Path) -> dict[str, Any]:
    """What the source's own manifest says that is true of the result as well."""
    try:
        found = read_manifest(root) or {}
    except InputError:
        return {}
    return {key: found[key] for key in _KEPT if isinstance(found.get(key), dict | list)}
