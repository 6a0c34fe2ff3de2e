"""Models with the head of a task: loaded from a directory, the head made anew where it is not the task's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch

from polycompress.errors import InputError, MissingExtraError
from polycompress.own_models import register_for
from polycompress.training.model import quiet_transformers

HeadKind = Literal["sequence", "token", "span"]
AUTO_CLASSES: Final[Mapping[HeadKind, str]] = {
    "sequence": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
}


@dataclass(frozen=True, slots=True)
class HeadedModel:
    """A model with a head, in fp32, and how it differs from what its directory holds."""

    model: Any
    """Of transformers."""
    head: HeadKind
    fresh: tuple[str, ...]
    """Parameters that the checkpoint lacks, or has for other labels: they are random."""
    unused: tuple[str, ...]
    """Tensors of the checkpoint that the model has no place for."""
    dtype: torch.dtype
    """Of the checkpoint."""


def load_with_head(
    path: Path, config: Mapping[str, Any], head: HeadKind, labels: Sequence[str], task: str
) -> HeadedModel:
    """Load a model directory with the head of a task, in fp32.

    A head of the same labels in the same order is trained further; any other is initialised as the library does it,
    from the global generator. Only safetensors are read, and no code of the directory is run.

    Args:
        path: The model directory.
        config: Its ``config.json``.
        head: Which.
        labels: Of the task, in order; of ``span`` there are none.
        task: Its name, for the configuration.

    Raises:
        InputError: transformers cannot load it, or more than a head is missing.
        MissingExtraError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("fine-tuning", "train") from error
    register_for(config)
    loader = getattr(transformers, AUTO_CLASSES[head])
    with quiet_transformers():
        try:
            settings = transformers.AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            dtype = settings.dtype if isinstance(settings.dtype, torch.dtype) else torch.float32
            reusable = head == "span" or _labels_of(config) == tuple(labels)
            _name_labels(settings, head, labels, task)
            model, info = loader.from_pretrained(
                path,
                config=settings,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
            fresh = {*info["missing_keys"], *(_name(each) for each in info["mismatched_keys"])}
            if not reusable:
                fresh |= _make_anew(model, loader, settings, fresh)
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{path}: transformers cannot load this model: {error}") from error
    _check_base(path, model, fresh)
    return HeadedModel(model, head, tuple(sorted(fresh)), tuple(sorted(info["unexpected_keys"])), dtype)


def _labels_of(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Labels that a configuration names, in order."""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    try:
        return tuple(str(named[key]) for key in sorted(named, key=int))
    except (TypeError, ValueError):
        return None


def _name_labels(settings: Any, head: HeadKind, labels: Sequence[str], task: str) -> None:
    settings.finetuning_task = task
    if head == "span":
        settings.num_labels = 2  # where it begins and where it ends
        return
    settings.num_labels = len(labels)
    settings.id2label = dict(enumerate(labels))
    settings.label2id = {label: number for number, label in enumerate(labels)}
    settings.problem_type = "single_label_classification" if head == "sequence" else None


def _make_anew(model: Any, loader: Any, settings: Any, known: set[str]) -> set[str]:
    """Give a head that was trained for other labels the random values of a new one; the names."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    names = [
        name
        for name, parameter in model.named_parameters()
        if id(parameter) not in inside and name not in known
    ]
    if names:
        twin = dict(loader.from_config(settings).named_parameters())
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name in names:
                parameters[name].copy_(twin[name])
    return set(names)


def _check_base(path: Path, model: Any, fresh: set[str]) -> None:
    """Refuse a checkpoint that lacks more than a head; a pooler counts as one."""
    prefix = f"{model.base_model_prefix}."
    lost = sorted(name for name in fresh if name.startswith(prefix) and "pooler" not in name)
    if lost:
        raise InputError(
            f"{path}: the checkpoint lacks {len(lost)} parameters of the model itself, such as {lost[0]}. Restore it."
        )


def _name(mismatched: Any) -> str:
    """The parameter's name, which the library gives alone or with both shapes."""
    return str(mismatched if isinstance(mismatched, str) else mismatched[0])
