"""The settings of a stage's training, by one name each whatever trains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final, Literal

from polycompress.pipelines.distilling.config import LEARNING_RATE, TextConfig
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.mlm import MlmConfig
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError

Kind = Literal["distil", "tune", "mlm"]
Settings = TextConfig | MlmConfig | FinetuneConfig

_ENGINE: Final = {
    "steps": "training.steps",
    "seed": "training.seed",
    "precision": "training.precision",
    "accumulation": "training.accumulation",
    "log_every": "training.log_every",
    "evaluate_every": "training.evaluate_every",
    "snapshot_every": "training.snapshots.every_steps",
    "learning_rate": "training.optimiser.learning_rate",
    "weight_decay": "training.optimiser.weight_decay",
    "max_grad_norm": "training.optimiser.max_grad_norm",
    "warmup_steps": "training.schedule.warmup_steps",
    "batch_tokens": "batching.token_budget",
    "mixing": "mixing.strategy",
    "max_length": "max_length",
    "device": "device",
}
_TEXT: Final = {
    **_ENGINE,
    **{name: name for name in ("masked", "dropout", "freeze_embeddings")},
    "mask_rate": "masking.rate",
}
_PARALLEL: Final = {name: place for name, place in _TEXT.items() if name not in ("masked", "mask_rate")}
_MLM: Final = {**_ENGINE, "mask_rate": "masking.rate", "loss": "loss", "negatives": "negatives"}
_TASK: Final = {each.name: each.name for each in fields(FinetuneConfig)}
_UNTAUGHT: Final = ("freeze", "class_weights")
"""Of a task: what a teacher's pupil has not."""
SETTINGS: Final = (*dict.fromkeys((*_TEXT, *_MLM, *_TASK)),)
"""Every name."""


def read_settings(
    table: Located, kind: Kind, data: str, *, is_taught: bool, shared: Located | None
) -> Settings:
    """The settings of a stage's training, by the names that a recipe has for them; what is wrong becomes faults.

    Args:
        table: The stage.
        kind: Of the stage.
        data: ``text``, ``task`` or ``parallel``.
        is_taught: Whether it has a teacher.
        shared: What all stages share; each takes what it can be told.
    """
    keys = {"task": _TASK, "text": _MLM if kind == "mlm" else _TEXT, "parallel": _PARALLEL}[data]
    keys = {name: place for name, place in keys.items() if not is_taught or name not in _UNTAUGHT}
    own = {name: table.value(name) for name in SETTINGS if table.has(name)}
    defaults = {name: shared.value(name) for name in SETTINGS if shared is not None and shared.has(name)}
    for name in [name for name in own if name not in keys]:
        what = ("on parallel sentences" if data == "parallel" else f"on {data}") + (
            " with a teacher" if data == "task" and is_taught else ""
        )
        table.fault(f"{name} is nothing that a stage of the kind {kind} {what} can be told: leave it out")
    for name, other in (("epochs", "steps"), ("steps", "epochs"), ("batch_texts", "batch_tokens")):
        if name in own:  # a stage's own word counts, not what all share
            defaults.pop(other, None)
    given = {name: value for name, value in {**defaults, **own}.items() if name in keys}
    cls: type[Settings] = FinetuneConfig
    if data != "task":
        cls = MlmConfig if kind == "mlm" else TextConfig
        given = {**_usual_of_text(kind, given), **given}
    values = _nested(given, keys) | ({"masked": False} if data == "parallel" else {})
    try:
        return read_config(cls, values)
    except ConfigError as error:
        for fault in (_in_recipe_terms(each, keys) for each in error.faults):
            is_shared = fault.split(" ", 1)[0] in defaults.keys() - own.keys()
            (shared if is_shared and shared is not None else table).fault(fault)
        return FinetuneConfig()


def seed_of(settings: Settings) -> int:
    """Of the training."""
    return settings.seed if isinstance(settings, FinetuneConfig) else settings.training.seed


def effective(settings: Settings) -> dict[str, Any]:
    """The settings that decide something about the weights, as plain values."""
    plain: dict[str, Any] = asdict(settings)
    without = ["device"]
    if isinstance(settings, FinetuneConfig):
        without += ["log_every", "snapshot_every"]
    else:
        for name in ("log_every", "evaluate_every", "snapshots"):
            plain["training"].pop(name)
    return {name: value for name, value in plain.items() if name not in without}


def _usual_of_text(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """As ``bistil general`` has it: precision by the machine, a rise in the first tenth of the steps."""
    usual: dict[str, Any] = {"precision": "auto"}
    if kind == "distil":
        usual |= {"learning_rate": LEARNING_RATE, "weight_decay": 0.0}
    steps = given.get("steps")
    if isinstance(steps, int) and steps > 0:
        usual["warmup_steps"] = min(steps // 10, 1000)
    return usual


def _nested(given: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {"training": {}} if "steps" in keys and keys["steps"] != "steps" else {}
    for name, value in given.items():
        *parents, last = keys[name].split(".")
        here = values
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    return values


def _in_recipe_terms(fault: str, keys: Mapping[str, str]) -> str:
    for name, place in sorted(keys.items(), key=lambda pair: -len(pair[1])):
        fault = fault.replace(place, name)
    return fault
