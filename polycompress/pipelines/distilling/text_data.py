"""The text of a distillation: tokenised, and kept with what the teacher says of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from polycompress.corpora import CorpusSpec
from polycompress.pipelines.distilling.shelving import shelve
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.examples import Examples
from polycompress.training.keeping import KeptInputs, in_teachers_ids
from polycompress.training.model import LoadedModel
from polycompress.training.tokenising import Cutting, prepare_examples

Tell = Callable[[str, int, int | None], None]


def read_examples(
    run: TextRun,
    student: SourceModel,
    corpora: tuple[CorpusSpec, ...],
    name: str,
    loaded: LoadedModel,
    out: Path,
    devices: Devices,
    tell: Tell | None,
) -> Examples:
    """Tokenised text; the main process makes it, the others find it.

    Args:
        run: How texts are cut.
        student: Whose tokens.
        corpora: The texts.
        name: Of the directory in the run's ``data/``.
        loaded: The student, whose table has to have all tokens.
        out: The run's directory.
        devices: The processes.
        tell: Told how far it is.

    Raises:
        InputError: A file cannot be read.
    """
    report = (lambda code, amount: tell(f"tokenising {code}", amount, None)) if tell is not None else None
    if not devices.is_main:
        devices.wait()
    examples = prepare_examples(
        student.tokenizer_json,
        corpora,
        out / "data" / name,
        Cutting(max_length=run.config.max_length),
        reading=run.reading,
        table_rows=int(loaded.model.get_input_embeddings().num_embeddings),
        progress=report,
    )
    if devices.is_main:
        devices.wait()
    return examples


def keep_text(
    run: TextRun,
    root: Path,
    student: SourceModel,
    teacher: Path,
    distillation: Distillation,
    inputs: Inputs,
    texts: Sequence[Examples | None],
    devices: Devices,
    tell: Tell | None,
) -> KeptInputs:
    """Keep what the teacher says of all texts.

    Args:
        run: What is asked for.
        root: Directory of stores.
        student: Whose tokens.
        teacher: Its directory.
        distillation: With the teacher, which it has not any more after that.
        inputs: What batches become.
        texts: To learn from, and held out.
        devices: The processes.
        tell: Told how far it is.

    Returns:
        Batches with what is kept of them.

    Raises:
        InputError: A store is damaged, or the teacher says what cannot be kept.
        StorageError: The disk refused.
    """
    rows = None if distillation.rows is None else distillation.rows.cpu().numpy()
    every = itertools.chain.from_iterable(each for each in texts if each is not None)
    shelf = shelve(
        distillation,
        root,
        teacher,
        (in_teachers_ids(example.ids, None, rows) for example in every),
        answers="vocabulary" if run.answers else None,
        top=run.keep_top,
        token_budget=run.config.batching.token_budget,
        pad_id=student.pad_id if rows is None else int(rows[student.pad_id]),
        precision=run.config.training.precision,
        devices=devices,
        tell=tell,
    )
    return KeptInputs(inputs, shelf, distillation.rows)
