"""The models of a recipe without their weights: what can be told of them before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from polycompress.distill.layers import plan_layers
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.pipelines.distilling.recipe import Recipe
from polycompress.pipelines.distilling.recipe_learning import TEACHER
from polycompress.pipelines.distilling.recipe_teachers import Models
from polycompress.training.model import quiet_transformers


def make_outlines(recipe: Recipe, models: Models) -> tuple[Any, dict[str, Any]]:
    """The student and each teacher, by its name, without weights, and so without memory.

    Raises:
        InputError: transformers cannot build one.
    """
    teacher = dict(models.teacher.config)
    if models.student is not None:
        student = dict(models.student.config)
    else:
        tensors = open_checkpoint(models.teacher.path).tensors
        student = dict(plan_layers(teacher, tensors, models.layer_map).config)
    first = outline(teacher)
    found = {TEACHER: first} | {name: first for stage in recipe.stages for name in stage.teachers}
    return outline(student), found | {name: outline(each.config) for name, each in models.directories.items()}


def outline(config: Mapping[str, Any]) -> Any:
    """A model without weights.

    Args:
        config: Its ``config.json``.

    Raises:
        InputError: transformers cannot build it.
    """
    import transformers  # takes a second, which faults of the file alone need not

    from polycompress.own_models import register_for

    register_for(config)
    given = dict(config)
    try:
        with quiet_transformers(), torch.device("meta"):
            return transformers.AutoModel.from_config(
                transformers.AutoConfig.for_model(given.pop("model_type"), **given)
            )
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"transformers cannot build it: {error}") from error
