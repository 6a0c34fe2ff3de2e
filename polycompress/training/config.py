"""The settings of a training run: one frozen dataclass a part, every fault of all of them reported at once."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from polycompress.errors import InputError
from polycompress.training.errors import ConfigError

T = TypeVar("T")

OFFERED: Final = "offered"
"""Key of a field's metadata: the choices that a message offers, where some are for code alone."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """How the learning rate changes; see ``schedules.rate_share``."""

    kind: Literal["linear", "cosine", "constant", "warmup-stable-decay"] = "linear"
    warmup_steps: int = 0
    """Steps in which the rate climbs to its peak."""
    decay_steps: int = 0
    """Of ``warmup-stable-decay``: the last steps, in which the rate falls."""
    final_share: float = 0.0
    """Share of the peak that the rate falls to."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        checks = _Checks()
        checks.that(self.warmup_steps >= 0, "warmup_steps", self.warmup_steps, "give 0 or more")
        checks.that(self.decay_steps >= 0, "decay_steps", self.decay_steps, "give 0 or more")
        checks.that(0 <= self.final_share <= 1, "final_share", self.final_share, "give 0 to 1")
        if self.kind == "warmup-stable-decay":
            checks.that(
                self.decay_steps > 0, "decay_steps", self.decay_steps, "warmup-stable-decay needs some"
            )
        elif self.decay_steps > 0:
            checks.add(
                f"decay_steps is {self.decay_steps}: only warmup-stable-decay has them, not {self.kind}"
            )
        checks.report("ScheduleConfig")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserConfig:
    """AdamW for dense parameters, row by row for embedding tables."""

    learning_rate: float = 5e-5
    """At its peak. The default suits continued pretraining of a small encoder (BERT's, for fine-tuning)."""
    beta1: float = 0.9
    beta2: float = 0.98
    """As RoBERTa was trained (Liu et al., 2019): the library's 0.999 reacts too slowly in short runs."""
    eps: float = 1e-6
    weight_decay: float = 0.01
    """Decoupled; not of norms and biases."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm over all parameters, sparse rows among them; 0: never."""
    second_moment: Literal["element", "row"] = "element"
    """Of tables updated row by row: one for each weight, or one for each row, which halves the state."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        checks = _Checks()
        checks.above(0, "learning_rate", self.learning_rate)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            checks.that(0 <= value < 1, name, value, "give 0 or more and less than 1")
        checks.above(0, "eps", self.eps)
        checks.that(
            0 <= self.weight_decay < 1, "weight_decay", self.weight_decay, "give 0 or more and less than 1"
        )
        limit = self.max_grad_norm
        checks.that(limit >= 0 and math.isfinite(limit), "max_grad_norm", limit, "give 0 (never) or more")
        checks.report("OptimiserConfig")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotConfig:
    """When the state is saved, and which snapshots stay."""

    every_steps: int = 500
    keep_last: int = 2
    keep_best: bool = True
    """Whether the one with the best ``metric`` stays besides, where that is measured."""
    metric: str = "held_out_loss"
    higher_is_better: bool = False
    """Of the metric."""
    on_improvement: bool = False
    """Whether there is one besides after every evaluation that is as good as the best before it, or better."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        checks = _Checks()
        checks.that(self.every_steps >= 1, "every_steps", self.every_steps, "give at least 1")
        checks.that(self.keep_last >= 1, "keep_last", self.keep_last, "give at least 1")
        checks.that(bool(self.metric), "metric", self.metric, "name one")
        checks.report("SnapshotConfig")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """A training run, whatever it trains."""

    steps: int
    """Of the optimiser."""
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """Of the computation; weights and optimiser states stay fp32. ``auto`` is settled before a run begins."""
    accumulation: int = 1
    """Batches that make up a step, on each process."""
    log_every: int = 10
    """Steps between lines of ``metrics.jsonl``."""
    evaluate_every: int = 0
    """Steps between evaluations on held-out text; 0: with every snapshot."""
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    optimiser: OptimiserConfig = dataclasses.field(default_factory=OptimiserConfig)
    snapshots: SnapshotConfig = dataclasses.field(default_factory=SnapshotConfig)

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        checks = _Checks()
        for name in ("steps", "accumulation", "log_every"):
            checks.that(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        checks.that(self.evaluate_every >= 0, "evaluate_every", self.evaluate_every, "give 0 or more")
        checks.that(0 <= self.seed < 2**63, "seed", self.seed, "give 0 to 2 ** 63 - 1")
        planned = self.schedule.warmup_steps + self.schedule.decay_steps
        if 1 <= self.steps < planned:
            checks.add(
                f"schedule.warmup_steps and schedule.decay_steps add up to {planned}: more than the {self.steps} steps"
            )
        checks.report("TrainingConfig")


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration and the parts of it as plain values."""
    plain: dict[str, Any] = dataclasses.asdict(config)
    return plain


def read_config(cls: type[T], values: Mapping[str, Any], subject: str = "The configuration") -> T:
    """Make a configuration from plain values; the one place where they are checked.

    Args:
        cls: A dataclass whose fields are numbers, texts, choices, tuples of such, or dataclasses in turn.
        values: By field. What is left out takes its default.
        subject: Whose configuration it is, for messages.

    Raises:
        ConfigError: With every unknown field, missing field, wrong type and wrong value, by its full name.
    """
    faults: list[str] = []
    config = _read(cls, values, "", faults)
    if faults:
        raise ConfigError(faults, subject)
    return config


def differing_fields(
    first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Fields of two nested mappings whose values are not the same, by full name; missing ones are None."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= differing_fields(one, other, f"{prefix}{name}.")
        elif one != other:
            found[prefix + name] = (one, other)
    return found


def _read(cls: type[T], values: Mapping[str, Any], prefix: str, faults: list[str]) -> T:
    """What the values come to; where any are wrong, made as far as it can be for checks above it."""
    known = {field.name: field for field in dataclasses.fields(typing.cast("Any", cls))}
    before = len(faults)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {prefix}{near[0]}?" if near else f" There are {', '.join(known)}."
            faults.append(f"{prefix}{name} is no field.{hint}")
    given: dict[str, Any] = {}
    types_of = get_type_hints(cls)
    for name, field in known.items():
        if name in values:
            value = _value(types_of[name], values[name], prefix + name, faults, field.metadata.get(OFFERED))
            if value is not _WRONG:
                given[name] = value
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            faults.append(f"{prefix}{name} is missing")
    made = _made_of(cls, known, given)
    told = {fault.split(" ", 1)[0] for fault in faults[before:]}
    try:
        faults += [fault for fault in _own_faults(made, prefix) if fault.split(" ", 1)[0] not in told]
    except (AttributeError, TypeError, ValueError, ArithmeticError, LookupError):
        if not told:
            raise  # else something below is missing or wrong, and the check itself failed of it
    return made


def _own_faults(made: Any, prefix: str) -> list[str]:
    """What a configuration's own checks find."""
    check = getattr(made, "__post_init__", None)
    try:
        if check is not None:
            check()
    except ConfigError as error:
        return [prefix + fault for fault in error.faults]
    except InputError as error:
        return [f"{prefix.rstrip('.') or type(made).__name__}: {error}"]
    return []


def _made_of(cls: type[T], known: Mapping[str, dataclasses.Field[Any]], given: Mapping[str, Any]) -> T:
    """An object of these fields and the others' defaults, unchecked; a field that has neither is not set."""
    made = object.__new__(cls)
    for name, field in known.items():
        if name in given:
            object.__setattr__(made, name, given[name])
        elif field.default is not dataclasses.MISSING:
            object.__setattr__(made, name, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            object.__setattr__(made, name, field.default_factory())
    return made


_WRONG = object()


def _value(
    kind: Any, value: Any, name: str, faults: list[str], offered: tuple[Any, ...] | None = None
) -> Any:
    """A value as its field wants it, or ``_WRONG`` and a fault."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            faults.append(f"{name} is {value!r}: give its fields")
            return _WRONG
        return _read(kind, value, f"{name}.", faults)
    origin = get_origin(kind)
    if origin is Literal:
        return _choice(get_args(kind), offered or get_args(kind), value, name, faults)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        rest = [each for each in get_args(kind) if each is not type(None)]
        if len(rest) == 1:
            return _value(rest[0], value, name, faults, offered)
    return _plain(kind, value, name, faults)


def _choice(
    choices: tuple[Any, ...], offered: tuple[Any, ...], value: Any, name: str, faults: list[str]
) -> Any:
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in offered], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    faults.append(f"{name} is {value!r}: give {', '.join(map(str, offered[:-1]))} or {offered[-1]}.{hint}")
    return _WRONG


_NAMES: Mapping[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _plain(kind: Any, value: Any, name: str, faults: list[str]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind not in _NAMES:  # tuples and mappings are checked by their dataclass
        return value
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if fits and kind is float and math.isnan(value):
        fits = False
    if not fits:
        faults.append(f"{name} is {value!r}: give {_NAMES[kind]}")
        return _WRONG
    return value


class _Checks:
    """Faults of one dataclass."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def add(self, fault: str) -> None:
        self.faults.append(fault)

    def that(self, holds: bool, name: str, value: Any, advice: str) -> None:
        if not holds:
            self.add(f"{name} is {value!r}: {advice}")

    def above(self, limit: float, name: str, value: float) -> None:
        self.that(value > limit and math.isfinite(value), name, value, f"give a number above {limit:g}")

    def report(self, subject: str) -> None:
        if self.faults:
            raise ConfigError(self.faults, subject)
