"""Keep what a teacher says of all texts of a stage, before the stage is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from polycompress.distill.capture import layers_of
from polycompress.distill.shelf import Answers, Shelf, Wanted
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.directory import file_sha256
from polycompress.pipelines.distilling.recipe_learning import VECTORS
from polycompress.pipelines.distilling.text_answers import head_classes
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation, union
from polycompress.training.keeping import Tokens, keep_outputs

Tell = Callable[[str, int, int | None], None]


def hash_of_weights(model: Path) -> str:
    """SHA-256 over what decides a model's outputs for given tokens, 64 hexadecimal digits."""
    names = ["config.json", *open_checkpoint(model).files]
    files = {name: file_sha256(model, name) for name in names}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def wanted_of(distillation: Distillation, answers: Answers | None, top: int = 0) -> Wanted:
    """What the objectives ask of the teacher.

    Args:
        distillation: With its teacher; vectors come ready.
        answers: Of the head.
        top: Of answers over a vocabulary, how many are kept at each place.
    """
    needs = union(objective.teacher_needs for objective in distillation.objectives)
    return Wanted(
        hidden=needs.hidden,
        vector=layers_of(distillation.teacher.config) if VECTORS in distillation.names else None,
        answers=answers if needs.logits else None,
        top=top,
    )


def shelve(
    distillation: Distillation,
    root: Path,
    teacher: Path,
    texts: Iterable[Tokens],
    *,
    answers: Answers | None,
    top: int = 0,
    token_budget: int,
    pad_id: int,
    precision: str,
    devices: Devices,
    tell: Tell | None,
) -> Shelf:
    """Keep what is missing of all texts, and let go of the teacher; all processes have to call it.

    Args:
        distillation: With its teacher, which it has not any more after that.
        root: Directory of stores.
        teacher: Its directory.
        texts: In the teacher's tokens.
        answers: Of the teacher's head; None: it has none.
        top: Of answers over a vocabulary, how many of the likeliest are kept at each place, at most.
        token_budget: Rows times width of a batch at most.
        pad_id: Id of padding.
        precision: ``bf16`` or ``fp32``.
        devices: The processes.
        tell: Told how far it is.

    Raises:
        InputError: A store is damaged, or the teacher says what cannot be kept.
        StorageError: The disk refused.
    """
    model, digest = distillation.teacher, hash_of_weights(teacher)
    over_vocabulary = answers == "vocabulary"
    classes = head_classes(model) if over_vocabulary else int(getattr(model.config, "num_labels", 0) or 0)
    # Of one that was trimmed all is kept where that is less.
    wanted = wanted_of(distillation, answers, min(top, classes))

    def opened() -> Shelf:
        return Shelf(
            root,
            digest,
            wanted,
            width=int(model.config.hidden_size),
            classes=classes,
            settings={"precision": precision},
        )

    if devices.is_main:
        keep_outputs(
            opened(),
            model,
            texts,
            token_budget=token_budget,
            pad_id=pad_id,
            device=devices.device,
            precision=precision,
            tell=tell,
        )
    devices.wait()
    shelf = opened()
    distillation.let_go_of_teachers()
    return shelf
