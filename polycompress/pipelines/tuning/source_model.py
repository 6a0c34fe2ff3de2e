"""A model to be trained, found and checked, its weights not loaded yet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.atomic import check_apart
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import file_sha256, read_bytes, read_json
from polycompress.modeldir.sources import ModelSource, resolve_model
from polycompress.modeldir.tokenizer_config import remap_tokenizer_config
from polycompress.pipelines.trimming.loading import architectures, make_tokenizer
from polycompress.pipelines.trimming.writing import source_licence
from polycompress.vocab.document import MAX_DOCUMENT_BYTES, parse_document

_ANY_PAD: Final = 0
"""Id of padding where neither tokenizer nor configuration names one: masked out, so any would do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceModel:
    """A model directory as training takes it."""

    source: ModelSource
    config: Mapping[str, Any]
    tokenizer_json: str
    tokenizer_config: Mapping[str, Any]
    notes: tuple[str, ...]
    hashes: Mapping[str, str]
    """SHA-256 of its files."""

    @property
    def path(self) -> Path:
        """The directory."""
        return self.source.path

    @property
    def pad_id(self) -> int:
        """Id of padding."""
        pad = self.token_id("pad_token")
        if pad is None:
            configured = self.config.get("pad_token_id")
            pad = configured if isinstance(configured, int) and configured >= 0 else _ANY_PAD
        return pad

    def token_id(self, role: str) -> int | None:
        """Id of the token in a role, such as ``eos_token``, or None."""
        token = self.tokenizer_config.get(role)
        if not isinstance(token, str):
            return None
        for number, added in (self.tokenizer_config.get("added_tokens_decoder") or {}).items():
            if added.get("content") == token:  # as special tokens nearly always are
                return int(number)
        found: int | None = make_tokenizer(self.tokenizer_json.encode("utf-8")).token_to_id(token)
        return found

    def short_record(self) -> dict[str, Any]:
        """For a run's configuration."""
        return {"spec": self.source.spec, "name": self.source.name, "revision": self.source.revision}

    def record(self) -> dict[str, Any]:
        """For the manifest of what was trained."""
        return {
            **self.short_record(),
            "model_type": self.config.get("model_type"),
            "architectures": architectures(self.config) or None,
            "license": source_licence(self.source.path),
            "files": dict(self.hashes),
        }


def find_source_model(model: str | os.PathLike[str], out: Path) -> SourceModel:
    """Find a model to train and read everything but its weights.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        out: What will be written, which must not hold the model.

    Raises:
        InputError: Something is missing or wrong.
    """
    source = resolve_model(model)
    check_apart(out, source.path)
    config = read_json(source.path, "config.json")
    assert config is not None
    checkpoint = open_checkpoint(source.path)
    path = ensure_tokenizer_json(source.path)
    raw = read_bytes(source.path, path.name, max_bytes=MAX_DOCUMENT_BYTES)
    tokenizer_config, notes = remap_tokenizer_config(
        read_json(source.path, "tokenizer_config.json", required=False),
        parse_document(raw, str(path)),
        model_config=config,
        special_tokens_map=read_json(source.path, "special_tokens_map.json", required=False),
    )
    names = ["config.json", path.name, *checkpoint.files]
    return SourceModel(
        source=source,
        config=config,
        tokenizer_json=raw.decode("utf-8"),
        tokenizer_config=tokenizer_config,
        notes=tuple(notes),
        hashes={name: file_sha256(source.path, name) for name in names},
    )
