"""Distil on parallel sentences: source and translation are both pulled to the teacher's vector of the source.

Reference: Reimers and Gurevych, "Making monolingual sentence embeddings multilingual using knowledge distillation"
(2020), section 2. https://arxiv.org/abs/2004.09813
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polycompress.corpora import PairSpec, read_pairs
from polycompress.distill.kept import VECTORS
from polycompress.distill.store import TeacherStore, text_key
from polycompress.errors import InputError
from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.model_settings import read_prompt
from polycompress.pipelines.distilling.losses import make_losses
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.teacher_vectors import Tell, keep_vectors, vector_store
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.distilling.text_student import check_lengths, set_dropout, train_student
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.items import Item, Items
from polycompress.training.metrics import Record
from polycompress.training.model import load_encoder
from polycompress.training.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class ParallelTexts:
    """Sentences of both languages in the student's tokens."""

    items: Items
    """Sources and translations alike; the label of each is the number of its source."""
    sources: tuple[str, ...]
    """Each once."""
    pairs: Mapping[str, int]
    """How many there are, by their languages."""


class VectorInputs:
    """Batches of sentences with the teacher's vectors of their sources: a loss is a mean over sentences."""

    def __init__(self, texts: ParallelTexts, store: TeacherStore) -> None:
        """Join what belongs together.

        Args:
            texts: That the batches' texts are the numbers of.
            store: With a vector of each source.
        """
        self._items, self._store = texts.items, store
        self._keys = [text_key(source) for source in texts.sources]

    def weight(self, batch: Batch) -> int:
        """Sentences."""
        return len(batch.text_ids)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]:
        """The batch as it is, and (B, d) vectors."""
        keys = [self._keys[int(self._items[number].labels[0])] for number in batch.text_ids]
        vectors = np.stack(self._store.get(keys)[VECTORS])
        return batch.inputs(), {"kept": {VECTORS: torch.from_numpy(vectors)}}


def read_parallel(
    specs: Sequence[PairSpec], encoder: TaskEncoder, *, limit: int | None = None, prompt: str = ""
) -> ParallelTexts:
    """Read pairs, and cut them into tokens.

    Args:
        specs: The files.
        encoder: The student's; longer sentences are cut.
        limit: Only the first so many pairs of each two languages.
        prompt: Put before every sentence that the student sees.

    Raises:
        InputError: A file cannot be read, or holds no pair.
    """
    numbers: dict[str, int] = {}
    found: dict[str, list[Item]] = {}
    counts: dict[str, int] = {}
    for name in dict.fromkeys(spec.name for spec in specs):
        own = [spec for spec in specs if spec.name == name]
        pairs = list(itertools.islice(itertools.chain.from_iterable(map(read_pairs, own)), limit))
        if not pairs:
            raise InputError(
                f"pairs {name}={own[0].pattern}: holds no pair. Give files with a sentence and its translation a line."
            )
        counts[name] = len(pairs)
        labels = [numbers.setdefault(source, len(numbers)) for source, _ in pairs]
        for side, language in enumerate((own[0].source, own[0].target)):
            encoded = encoder.encode_strings([prompt + pair[side] for pair in pairs])
            found.setdefault(language.code, []).extend(
                Item(row.ids, np.array([label], dtype=np.int64), name=f"pair {number} of {name}")
                for number, (row, label) in enumerate(zip(encoded, labels, strict=True), start=1)
            )
    return ParallelTexts(items=Items(list(found.items())), sources=tuple(numbers), pairs=counts)


def run_parallel(
    run: TextRun,
    pairs: Sequence[PairSpec],
    student: SourceModel,
    teacher: SourceModel,
    out: Path,
    devices: Devices,
    snapshot: Snapshot | None,
    *,
    limit: int | None,
    root: Path,
    facts: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """Compute the teacher's vectors where they are missing, then train; the manifest of the student.

    Args:
        run: What is asked for; it names no text.
        pairs: The sentences.
        student: As it begins.
        teacher: Any encoder.
        out: The run's directory.
        devices: The processes.
        snapshot: To go on from.
        limit: Of the pairs of each two languages, the first so many.
        root: Directory in which vectors are kept.
        facts: For the manifest.
        progress: Told each record of the log.
        tell: Told what is being prepared.

    Raises:
        InputError: A model cannot be loaded, or there is no pair.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    precision = run.config.training.precision
    assert precision != "auto", "it is chosen before"
    encoder = TaskEncoder(student.tokenizer_json, max_length=run.config.max_length, pad_id=student.pad_id)
    texts = read_parallel(pairs, encoder, limit=limit, prompt=read_prompt(student.path))
    if devices.is_main:
        fresh = vector_store(root, teacher, precision)
        keep_vectors(fresh, teacher, texts.sources, device=devices.device, precision=precision, tell=tell)
    devices.wait()
    store = vector_store(root, teacher, precision)
    if tell is not None:
        tell("loading the student", 0, None)
    loaded = load_encoder(student.path)
    check_lengths(loaded, run.config)
    texts.items.check_table(int(loaded.model.get_input_embeddings().num_embeddings))
    set_dropout(loaded.model, run.config.dropout)
    (width,) = store.kind.fields[VECTORS].shape
    pair = Pair(
        student=loaded.model.config,
        teacher=loaded.model.config,  # of which nothing is asked but its vectors
        layers=run.layers,
        steps=run.config.training.steps,
        vector_width=width,
    )
    return train_student(
        run,
        student,
        loaded,
        Distillation(loaded.model, None, make_losses(run.losses, pair)),
        VectorInputs(texts, store),
        texts.items,
        out,
        devices,
        snapshot,
        facts={**facts, "pairs": dict(texts.pairs), "sentences": len(texts.items)},
        progress=progress,
    )
