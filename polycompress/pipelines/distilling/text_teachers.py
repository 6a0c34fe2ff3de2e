"""Second and later teachers of a distillation on text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from polycompress.pipelines.distilling.task_parts import token_rows
from polycompress.pipelines.distilling.teacher_samples import sample_states
from polycompress.pipelines.distilling.text_answers import load_for_text, vocabularies
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.devices import Devices
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.examples import Examples
from polycompress.training.loader import BatchLoader
from polycompress.training.masking import Objective
from polycompress.training.mixing import LanguageMixer
from polycompress.training.model import LoadedModel
from polycompress.training.teachers import Further


def further_teacher(
    run: TextRun, student: SourceModel, loaded: LoadedModel, path: Path, *, own_tokens: bool = False
) -> Further:
    """Load a second or later teacher.

    Args:
        run: What is asked for.
        student: Found.
        loaded: The same, loaded.
        path: The teacher's directory.
        own_tokens: Whether it is shown tokens of its own instead of the student's.

    Raises:
        InputError: It cannot be loaded, lacks a head that is asked for or tokens, or cuts texts otherwise.
    """
    if own_tokens:
        return Further(model=load_for_text(path, answers=False).model)
    shared = vocabularies(student, path, run.corpora)
    rows = token_rows(*shared, int(loaded.model.get_input_embeddings().num_embeddings))
    return Further(model=load_for_text(path, answers=run.answers).model, rows=rows)


def sample_text(
    run: TextRun,
    student: SourceModel,
    examples: Examples,
    inputs: Inputs,
    objective: Objective | None,
    devices: Devices,
    teachers: Sequence[Further],
    layers: Sequence[int],
) -> list[Tensor]:
    """States of all teachers at the same tokens; the same ones in all processes.

    Args:
        run: What is asked for.
        student: Whose tokens they are.
        examples: The text.
        inputs: What batches become.
        objective: What masks them.
        devices: The processes.
        teachers: On the device.
        layers: Number of a hidden state of each.
    """
    settings = run.config.training
    loader = BatchLoader(
        examples,
        LanguageMixer(examples, max_epochs=1, seed=settings.seed),
        run.config.batching,
        pad_id=student.pad_id,
        objective=objective,
        seed=settings.seed,
    )
    return sample_states(
        teachers, layers, loader, inputs, device=devices.device, precision=settings.precision
    )
