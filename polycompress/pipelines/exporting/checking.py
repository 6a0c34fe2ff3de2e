"""Compare what a graph gives with what the model that it was exported from gives, on the same texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.errors import PolycompressError
from polycompress.evaluation.batches import pad_batch
from polycompress.evaluation.encoding import Encoded, TaskEncoder
from polycompress.evaluation.onnx_session import Graph
from polycompress.pipelines.exporting.graph import SENTENCE, STATES, Traced

TOLERANCE: Final = 1e-4
"""Of the largest output: graphs in fp32 add up in another order, and no more."""
_ROWS: Final = 8
_VOCABULARY_ROWS: Final = 2
_VOCABULARY_LENGTH: Final = 128
"""Tokens of a text at most where every token has an output for each token of the vocabulary: those take memory."""
_PLACES: Final = ("start_logits", "end_logits")
"""Outputs that choose one of a text's tokens."""
_Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How a graph's outputs compare with the model's, padding left out."""

    texts: int
    tokens: int
    largest_difference: float
    """Absolute, of any output; infinite where only one of the two is a number."""
    largest_output: float
    """Of the model, absolute."""
    mean_cosine: float | None
    """Of the vectors of whole texts, or of tokens where there are none; None: the graph has a head."""
    least_cosine: float | None
    predictions: int
    """How many were compared: of texts, tokens, or begins and ends of answers."""
    equal_predictions: float | None
    """Share of them that are the same; None: the graph has no head that chooses."""

    @property
    def passed(self) -> bool:
        """Whether the difference is one of rounding."""
        return self.largest_difference <= TOLERANCE * self.largest_output

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and JSON."""
        return asdict(self)


@dataclass(slots=True)
class Tally:
    """Adds up batches."""

    texts: int = 0
    tokens: int = 0
    difference: float = 0.0
    scale: float = 0.0
    cosines: list[NDArray[np.float64]] = field(default_factory=list)
    equal: int = 0
    predictions: int = 0

    def add(self, wanted: _Outputs, found: _Outputs, mask: NDArray[np.bool_]) -> None:
        """Compare one batch.

        Args:
            wanted: The model's outputs by name: (B, ...) of texts, or (B, L, ...) of tokens.
            found: The graph's.
            mask: (B, L) True for tokens.
        """
        self.texts += len(mask)
        self.tokens += int(mask.sum())
        for name, values in wanted.items():
            per_token = values.ndim == 3 or name in _PLACES
            ours, theirs = (each[mask] if per_token else each for each in (values, found[name]))
            self.difference = max(self.difference, largest_gap(ours, theirs))
            self.scale = max(self.scale, float(np.abs(ours).max()))
            if name in (SENTENCE, STATES):
                if name == SENTENCE or SENTENCE not in wanted:
                    self.cosines.append(cosines(ours, theirs))
            elif name in _PLACES:
                self._count(*(np.where(mask, each, -np.inf) for each in (values, found[name])))
            elif values.shape[-1] > 1:
                self._count(ours, theirs)

    def agreement(self) -> Agreement:
        """What came together."""
        cosine = np.concatenate(self.cosines) if self.cosines else None
        return Agreement(
            texts=self.texts,
            tokens=self.tokens,
            largest_difference=self.difference,
            largest_output=self.scale,
            mean_cosine=None if cosine is None else float(cosine.mean()),
            least_cosine=None if cosine is None else float(cosine.min()),
            predictions=self.predictions,
            equal_predictions=self.equal / self.predictions if self.predictions else None,
        )

    def _count(self, wanted: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        same = wanted.argmax(axis=-1) == found.argmax(axis=-1)
        self.equal += int(same.sum())
        self.predictions += same.size


def largest_gap(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Largest absolute difference; infinite where only one of the two is a finite number, 0 where they are equal."""
    if wanted.shape != found.shape:
        return float("inf")
    with np.errstate(invalid="ignore"):
        gap = np.abs(wanted - found)
    gap[(wanted == found) | (np.isnan(wanted) & np.isnan(found))] = 0.0
    gap[np.isnan(gap)] = np.inf
    return float(gap.max(initial=0.0))


def cosines(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n,) cosine of each row with the other's; 0 where one has no length.

    Args:
        wanted: (n, d)
        found: (n, d)
    """
    ours, theirs = (each.astype(np.float64) for each in (wanted, found))
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    products: NDArray[np.float64] = (ours * theirs).sum(axis=1)
    products[lengths > 0] /= lengths[lengths > 0]
    return products


def batches_of(
    encoder: TaskEncoder, texts: Sequence[str], *, over_vocabulary: bool
) -> list[dict[str, torch.Tensor]]:
    """What both are run on: all texts joined and cut to the longest input, then the texts as they come, with padding.

    Args:
        encoder: Of the model.
        texts: At least one.
        over_vocabulary: Whether each token's output is as wide as the vocabulary; rows are shorter then.
    """
    *rows, joined = encoder.encode_strings([*texts, " ".join(texts)])
    size = _VOCABULARY_ROWS if over_vocabulary else _ROWS
    batches = [[joined], *(rows[start : start + size] for start in range(0, len(rows), size))]
    if over_vocabulary:
        batches = [[_cut(row, _VOCABULARY_LENGTH) for row in batch] for batch in batches]
    return [pad_batch(batch, encoder.pad_id, multiple=1) for batch in batches]


def compare(traced: Traced, graph: Graph, batches: Sequence[Mapping[str, torch.Tensor]]) -> Agreement:
    """Run both on the same batches.

    Args:
        traced: What was exported.
        graph: What came of it.
        batches: See ``batches_of``.

    Raises:
        PolycompressError: The model itself gives no finite numbers.
        InputError: onnxruntime refuses the graph.
    """
    tally = Tally()
    for inputs, wanted in _wanted(traced, batches):
        tally.add(wanted, graph.run(inputs), inputs["attention_mask"].astype(bool))
    return tally.agreement()


def _wanted(
    traced: Traced, batches: Sequence[Mapping[str, torch.Tensor]]
) -> Iterator[tuple[dict[str, NDArray[np.int64]], _Outputs]]:
    for batch in batches:
        with torch.inference_mode():
            outputs = dict(zip(traced.outputs, (each.numpy() for each in traced(**batch)), strict=True))
        if not all(np.isfinite(each).all() for each in outputs.values()):
            raise PolycompressError(
                "The model's outputs are not all finite numbers: its weights are damaged. Train or fetch it anew."
            )
        yield {name: each.numpy() for name, each in batch.items()}, outputs


def _cut(row: Encoded, length: int) -> Encoded:
    return Encoded(row.example, row.ids[:length], None if row.type_ids is None else row.type_ids[:length])
