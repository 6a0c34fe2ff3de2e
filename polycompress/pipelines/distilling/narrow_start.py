"""A student that is narrower than its teacher, as it begins: fitted to text, and kept if it beats a random start."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from tokenizers import Tokenizer
from torch import Tensor

from polycompress.corpora import CorpusSpec, read_texts
from polycompress.distill.layer_map import LayerMap
from polycompress.distill.narrowing import choose_start
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.student_card import render_student_card
from polycompress.pipelines.tuning.source_model import find_source_model
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained
from polycompress.training.model import load_encoder

TEXTS: Final = 96
"""Of each language, that the start is fitted to."""
BATCH: Final = 16


def write_narrow_student(
    teacher: Path,
    layer_map: LayerMap,
    hidden_size: int,
    corpora: Sequence[CorpusSpec],
    out: Path,
    basis: Path,
    *,
    max_length: int,
    seed: int,
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the student's directory, and the basis that its states are in.

    Args:
        teacher: A model directory.
        layer_map: For each layer of the student, the teacher's.
        hidden_size: Of the student.
        corpora: Text to fit it to.
        out: The directory to be.
        basis: The file to be: one matrix (d, d').
        max_length: Tokens of a text at most.
        seed: Of the random start that it has to beat.
        record: For the manifest.

    Returns:
        How near it came to the teacher, see ``Start.as_dict``.

    Raises:
        InputError: The teacher cannot be made narrower, or so narrow.
    """
    source = find_source_model(teacher, out)
    loaded = load_encoder(teacher)
    tokenizer = Tokenizer.from_str(source.tokenizer_json)
    samples = sample_batches(tokenizer, corpora, source.pad_id, max_length)
    start = choose_start(loaded.model, hidden_size, samples, layer_map=layer_map, seed=seed)
    with atomic_file(basis) as file:
        file.write(save({"basis": start.basis.contiguous()}))
    told = start.as_dict()
    manifest = {**record, "source": source.record(), "student": {"layers": list(layer_map.layers), **told}}
    write_trained(
        out,
        start.model,
        as_saved(start.model.state_dict(), start.model, loaded.dtype),
        loaded.dtype,
        source,
        manifest,
        render_student_card,
    )
    return told


def sample_batches(
    tokenizer: Tokenizer, corpora: Sequence[CorpusSpec], pad_id: int, max_length: int
) -> list[dict[str, Tensor]]:
    """The first texts of each corpus as a model takes them."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    texts = [text for spec in corpora for text in itertools.islice(read_texts(spec), TEXTS)]
    rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]
    batches = []
    for begin in range(0, len(rows), BATCH):
        some = rows[begin : begin + BATCH]
        width = max(map(len, some))
        ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in some])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in some])
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches


def read_basis(path: Path) -> Tensor:
    """The matrix of ``write_narrow_student``.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        found: Tensor = load_file(path)["basis"]
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}). Start the run again in another directory."
        ) from error
    return found
