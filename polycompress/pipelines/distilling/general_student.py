"""The student that ``bistil general`` is given or makes, checked against its teacher and the settings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from polycompress.corpora import CorpusSpec
from polycompress.distill.layer_map import LayerMap
from polycompress.distill.layers import plan_layers
from polycompress.distill.narrowing import narrow_config
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.pipelines.distilling.general_config import LEFT_OUT, MIN_SHARE, GeneralConfig, by_words
from polycompress.pipelines.distilling.given_student import Given, check_given, find_given
from polycompress.pipelines.distilling.recipe_outlines import outline
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.errors import ConfigError

_UNASKED: Final[dict[str, Any]] = {"layers": None, "strategy": "every-nth", "hidden_size": None}
"""Of a shape, what says nothing of a student."""


def find_general_student(
    student: str | os.PathLike[str],
    teacher: SourceModel,
    config: GeneralConfig,
    corpora: Sequence[CorpusSpec],
    out: Path,
) -> Given:
    """The student that ``bistil general`` begins with; no weight is loaded.

    Args:
        student: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        teacher: Found.
        config: As it was asked for.
        corpora: That both are to see.
        out: The run's directory.

    Raises:
        ConfigError: It does not fit, or the settings do not; every fault is named.
    """
    faults: list[str] = []
    alien = [f"shape.{name}" for name, usual in _UNASKED.items() if getattr(config.shape, name) != usual]
    alien += ["min_share"] if config.min_share != MIN_SHARE else []
    faults += [
        f"{name} is for a student that is made, but there is one already: leave it out" for name in alien
    ]
    given = find_given(student, teacher, config.shape.layer_map, corpora, out, faults)
    if given is not None:
        if not given.shares_tokens and not (config.hidden_weight or config.vector_weight):
            faults.append(f"hidden_weight and vector_weight are 0, but {LEFT_OUT}: raise one of the two")
        else:
            settled = config if given.shares_tokens else by_words(config)
            check_given(given, teacher, settled.losses(), settled.text, faults)
    if faults or given is None:
        raise ConfigError(faults, f"A student that begins as {os.fspath(student)}")
    return given


def plan_general_student(teacher: SourceModel, layer_map: LayerMap, config: GeneralConfig) -> Given:
    """The student that ``bistil general`` makes, as far as it can be told before it is; no weight is loaded.

    Args:
        teacher: Found.
        layer_map: For each of the student's layers, the teacher's.
        config: As it was asked for.

    Returns:
        The teacher's files with the student's configuration.

    Raises:
        InputError: No student can be made of this teacher.
        ConfigError: It cannot learn what the settings ask for; every fault is named.
    """
    planned = dict(plan_layers(teacher.config, open_checkpoint(teacher.path).tensors, layer_map).config)
    faults: list[str] = []
    if config.shape.hidden_size is not None:
        try:
            planned = narrow_config(outline(planned).config.to_dict(), config.shape.hidden_size)
        except InputError as error:
            faults.append(str(error).removesuffix("."))
    given = Given(model=replace(teacher, config=planned), layer_map=layer_map, shares_tokens=True)
    check_given(given, teacher, config.losses(), config.text, faults)
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)), f"A student of {teacher.source.name}")
    return given
