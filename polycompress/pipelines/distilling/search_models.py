"""Models of a search without training: students of any shape with random weights, what they take and what they see."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from polycompress.distill.diswot import Views
from polycompress.distill.layer_map import bottom, every_nth
from polycompress.distill.layers import count_layers, cut_config
from polycompress.distill.narrowing import NARROWABLE
from polycompress.distill.shapes import Shape, Width, WidthCost, measure_width
from polycompress.errors import InputError
from polycompress.evaluation.speed import take_turns
from polycompress.evaluation.speed_models import TimedModel, count_parameters
from polycompress.own_models import register_for
from polycompress.pipelines.distilling.search_text import SearchBatch

LATENCY_TURNS: Final = 20
_ROLES: Final = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")
_SIZES: Final[Mapping[str, str]] = {
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """Which ids a student of some vocabulary tells apart, numbered anew so that its table is small."""

    numbers: NDArray[np.int64]
    """(V,) the new number of each id of the teacher; that of the unknown token where the id is not kept."""
    rows: int

    def of(self, ids: NDArray[np.int64]) -> torch.Tensor:
        """New numbers."""
        return torch.from_numpy(self.numbers[ids])


def teacher_width(config: Mapping[str, Any]) -> Width:
    """The sizes within the teacher's layers.

    Raises:
        InputError: transformers does not know them.
    """
    settings = _settings(config, {})
    return Width(
        int(settings.hidden_size),
        int(settings.num_attention_heads),
        int(getattr(settings, "intermediate_size", 0) or 0),
    )


def can_narrow(config: Mapping[str, Any]) -> bool:
    """Whether students of another width can be made out of this teacher."""
    return config.get("model_type") in NARROWABLE


def width_cost(config: Mapping[str, Any], width: Width) -> WidthCost:
    """What students of one width take, without heads; nothing is allocated for it."""

    def parameters(layers: int, tokens: int) -> int:
        with torch.device("meta"):
            model = transformers.AutoModel.from_config(shaped_settings(config, Shape(layers, width, tokens)))
        return sum(parameter.numel() for parameter in model.parameters())

    if count_layers(config) == 1:  # nothing to compare with, and one layer is all there will be
        one = parameters(1, 64)
        per_token = (parameters(1, 128) - one) // 64
        return WidthCost(one - 64 * per_token, 0, per_token)
    return measure_width(parameters)


def shaped_settings(config: Mapping[str, Any], shape: Shape, **more: Any) -> Any:
    """The configuration of a student, as transformers takes it."""
    layers = count_layers(config)
    even = layers % shape.layers == 0
    student, _ = cut_config(config, every_nth(layers, shape.layers) if even else bottom(layers, shape.layers))
    sizes: dict[str, Any] = {"vocab_size": shape.tokens}
    if can_narrow(config):
        sizes |= {field: getattr(shape.width, name) for name, field in _SIZES.items()}
    # Ids of special tokens are those of another table; the library checks some of them.
    sizes |= {f"{role}_token_id": None for role in _ROLES if f"{role}_token_id" in student}
    sizes["pad_token_id"] = min(int(config.get("pad_token_id") or 0), shape.tokens - 1)
    return _settings(student, {**sizes, **more})


def random_student(config: Mapping[str, Any], shape: Shape, seed: int, **more: Any) -> Any:
    """A student of random weights, in evaluation mode; the global generator is left as it was."""
    settings = shaped_settings(config, shape, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.AutoModel.from_config(settings).eval()


def make_table(
    batches: list[SearchBatch], keep: NDArray[np.bool_], unknown: int | None, padding: int
) -> Table:
    """Number the ids that batches hold.

    Args:
        batches: All that will be seen.
        keep: (V,) which ids the student's vocabulary has.
        unknown: What the others become.
        padding: Id of padding, which stays the number that it is where it is a low one, since some models count
            positions from it on.
    """
    used = np.unique(np.concatenate([part.ravel() for each in batches for part in (each.ids, each.classes)]))
    fallback = int(unknown) if unknown is not None else int(used[0])
    low = np.arange(padding + 1) if padding < 16 else np.array([padding])
    held = np.unique(np.concatenate([used[keep[used]], low, [fallback]]))
    numbers = np.full(len(keep), int(np.searchsorted(held, fallback)), np.int64)
    numbers[held] = np.arange(len(held))
    return Table(numbers=numbers, rows=len(held))


def look(model: Any, batch: SearchBatch, table: Table | None = None) -> Views:
    """What a model makes of a batch.

    Args:
        model: Without a head, in evaluation mode.
        batch: The texts.
        table: The student's; None for the teacher.

    Raises:
        InputError: Its table is not as wide as its states, so that it can be no classifier.
    """
    number = torch.from_numpy if table is None else table.of
    mask = torch.from_numpy(batch.mask)
    with torch.inference_mode():
        states = model(input_ids=number(batch.ids), attention_mask=mask.long()).last_hidden_state
        rows = model.get_input_embeddings().weight[number(batch.classes)]
    if rows.shape[1] != states.shape[2]:
        raise InputError(
            f"The model's table is {rows.shape[1]} wide and its states {states.shape[2]}, so the table cannot tell "
            "tokens by them, and the students' scores are not defined."
        )
    means = (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return Views(
        tokens=states[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)],
        table=rows,
        labels=torch.from_numpy(batch.labels),
        texts=means,
    )


def latency_ms(config: Mapping[str, Any], shape: Shape, length: int, path: Path) -> float:
    """Median time of one forward pass of a student over one text, on this machine's processor.

    Args:
        config: The teacher's.
        shape: The student's. Its weights are random, which costs the same time.
        length: Tokens of the text.
        path: The teacher's directory, for messages.
    """
    model = random_student(config, shape, 0)
    timed = TimedModel(path, model, count_parameters(model), torch.device("cpu"))
    (seconds,) = take_turns([timed.forward(1, length, 0)], LATENCY_TURNS, warm_up=3)
    return 1000 * statistics.median(seconds)


def _settings(config: Mapping[str, Any], changes: Mapping[str, Any]) -> Any:
    fields = {**config, **changes}
    register_for(fields)
    kind = fields.pop("model_type")
    try:
        return transformers.AutoConfig.for_model(kind, **fields)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"config.json: transformers cannot use it: {error}") from error
