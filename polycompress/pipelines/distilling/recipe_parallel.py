"""Stages on parallel sentences: which models may teach there, and whether the student's vectors are those it keeps."""

from __future__ import annotations

from polycompress.evaluation.pooling import read_pooling
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.teacher_vectors import vector_width
from polycompress.pipelines.tuning.source_model import SourceModel


def check_parallel(stage: Stage, student: SourceModel, teacher: SourceModel) -> None:
    """Add a fault for what the models of a stage cannot do.

    Args:
        stage: On parallel sentences.
        student: Or the model that it is made of.
        teacher: Of the stage, or the model that it is tuned from.
    """
    stage.table.tried("teacher", lambda: vector_width(teacher))
    pooling = stage.table.tried("losses", lambda: read_pooling(student.path))
    if pooling is not None and (pooling.modes != ("mean",) or any(pooling.steps)):
        how = ", ".join(pooling.modes) + (" and a dense layer" if any(pooling.steps) else "")
        stage.table.fault(
            f"losses: sentence-vectors trains the mean of the last hidden states, but {student.path} makes its vectors "
            f"by {how} (modules.json): take a student without, or change that file"
        )
