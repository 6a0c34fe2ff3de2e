"""A teacher's vectors of sentences, computed once with its own tokenizer and pooling, and kept."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import torch

from polycompress.distill.kept import VECTORS
from polycompress.distill.store import Settings, TeacherStore, text_key
from polycompress.distill.store_kinds import sentence_vectors
from polycompress.errors import InputError
from polycompress.evaluation.forward import embed
from polycompress.evaluation.models import DEFAULT_LENGTHS, load_task_model
from polycompress.evaluation.pooling import Dense, read_pooling
from polycompress.modeldir.directory import copied_files, file_sha256, safe_file
from polycompress.own_models import register_for
from polycompress.pipelines.tuning.source_model import SourceModel

logger = logging.getLogger(__name__)

Tell = Callable[[str, int, int | None], None]
AT_ONCE: Final = 2048
"""Sentences that are computed and kept together: of one that is killed so many are computed again."""


def vector_width(model: SourceModel) -> int:
    """Units of a model's vectors, as its directory says that they are pooled.

    Raises:
        InputError: Its files say nothing that could be followed.
    """
    import transformers

    settings = dict(model.config)
    register_for(settings)
    try:
        config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
        states = int(config.hidden_size)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{model.path}: transformers knows no width of this model's states ({error})."
        ) from error
    pooling = read_pooling(model.path)
    width = states * len(pooling.modes)
    for step in pooling.steps:
        if isinstance(step, Dense):
            rows, columns = step.weight.shape
            if columns != width:
                raise InputError(
                    f"{model.path}: a dense layer takes {columns} units, but gets {width}. Restore the files."
                )
            width = rows
    return width


def hash_of_teacher(model: SourceModel) -> str:
    """SHA-256 over all files that decide a model's vectors, 64 hexadecimal digits."""
    others = [*copied_files(model.path), "tokenizer_config.json"]
    files = dict(model.hashes) | {
        name: file_sha256(model.path, name)
        for name in others
        if name.endswith((".json", ".safetensors")) and safe_file(model.path, name).is_file()
    }
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def vector_store(root: Path, model: SourceModel, precision: str) -> TeacherStore:
    """The store of a model's vectors.

    Args:
        root: Directory of stores.
        model: Whose.
        precision: ``bf16`` or ``fp32``, in which they are computed.

    Raises:
        InputError: It is damaged.
    """
    settings: Settings = {"precision": precision, "max_length": DEFAULT_LENGTHS["retrieval"]}
    return TeacherStore.within(root, hash_of_teacher(model), sentence_vectors(vector_width(model)), settings)


def keep_vectors(
    store: TeacherStore,
    model: SourceModel,
    sentences: Sequence[str],
    *,
    device: torch.device,
    precision: Literal["fp32", "bf16"],
    tell: Tell | None = None,
) -> int:
    """Compute the vectors that a store has not, and keep them.

    Sentences are put into groups before those that are there are left out, and a group is kept whole or not at all: a
    run that was killed gets the same vectors as one that was not.

    Args:
        store: Of this model.
        model: Is loaded only where something is missing.
        sentences: Each once.
        device: Where it computes.
        precision: In which.
        tell: Told how far it is.

    Returns:
        How many were computed.

    Raises:
        InputError: The model cannot be loaded.
        StorageError: The disk refused.
    """
    missing = set(store.missing(map(text_key, sentences)))
    if not missing:
        return 0
    logger.info("%s: %d of %d sentences have no vector yet", store.path, len(missing), len(sentences))
    loaded = load_task_model(model.path, "retrieval", device=device, precision=precision)
    done = 0
    for begin in range(0, len(sentences), AT_ONCE):
        group = [each for each in sentences[begin : begin + AT_ONCE] if text_key(each) in missing]
        if group:
            vectors = embed(loaded, group)
            store.put([text_key(each) for each in group], {VECTORS: list(vectors)})
            done += len(group)
        if tell is not None:
            tell("vectors of the teacher", done, len(missing))
    return done
