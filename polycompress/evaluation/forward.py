"""Examples through a model: logits, hidden states and embeddings, in batches of texts of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.errors import InputError, PolycompressError
from polycompress.evaluation.batches import OVERHEAD, OVERHEAD_GPU, pad_batch, plan_batches
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.models import EMBEDDING_KINDS, TaskModel
from polycompress.evaluation.pooling import Pooling, pool

BATCH_TOKENS: Final = 4096
"""Of a batch, padding included; more makes a processor no faster, and needs more memory."""
_Batch = dict[str, torch.Tensor]
_Progress = Callable[[int], None]


def forward(
    model: TaskModel,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: _Progress | None = None,
) -> list[NDArray[np.float32]]:
    """The logits of what was encoded.

    Args:
        model: With a head.
        encoded: Rows, in any order.
        batch_tokens: Rows times width of a batch at most.
        progress: Called with the number of rows done since the last call.

    Returns:
        For each row, in their order: (C,) for classes, (T, C) for words, (T, 2) begins and ends for questions. Columns
        are in the order of the task's labels.

    Raises:
        InputError: A row is more than ``batch_tokens``, or has an id that the model does not know.
        PolycompressError: A logit is no finite number.
    """
    found: list[Any] = [None] * len(encoded)

    def take(rows: list[int], _: _Batch, output: Any) -> None:
        _keep(found, rows, encoded, _logits(model, output))

    _run(model, encoded, batch_tokens, progress, take)
    return found


def forward_with_states(
    model: TaskModel,
    encoded: Sequence[Encoded],
    *,
    batch_tokens: int = BATCH_TOKENS,
    progress: _Progress | None = None,
) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """As ``forward``, and the last hidden states averaged over each row's tokens: what loyalty compares.

    Returns:
        The logits, and (n, d) the means.
    """
    found: list[Any] = [None] * len(encoded)
    means: list[Any] = [None] * len(encoded)

    def take(rows: list[int], batch: _Batch, output: Any) -> None:
        _keep(found, rows, encoded, _logits(model, output))
        states = output.hidden_states if "hidden_states" in output else output.encoder_hidden_states
        _spread(means, rows, pool(states[-1], batch["attention_mask"], Pooling()))

    _run(model, encoded, batch_tokens, progress, take, output_hidden_states=True)
    return found, _stacked(means)


def embed(
    model: TaskModel,
    texts: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    prefix: str | None = None,
    progress: _Progress | None = None,
) -> NDArray[np.float32]:
    """One vector for each text.

    Args:
        model: Loaded for retrieval or word translation.
        texts: Cut to the encoder's ``max_length``.
        batch_tokens: Rows times width of a batch at most.
        prefix: Put before every text, such as ``query: ``; None: what the model's directory names, or nothing.
        progress: Called with the number of texts done since the last call.

    Returns:
        (n, d), pooled as the model's directory says.

    Raises:
        InputError: A text is more than ``batch_tokens``, or the tokenizer refuses one.
        PolycompressError: A vector is not all finite numbers.
    """
    if model.kind not in EMBEDDING_KINDS:
        raise ValueError(f"a model for {model.kind} gives logits: load it for retrieval")
    before = model.prompt if prefix is None else prefix
    if before and not model.pooling.include_prompt:
        raise InputError(
            "1_Pooling/config.json: include_prompt is false, but embeddings are pooled over the prompt too. Embed "
            "without a prompt."
        )
    encoded = model.encoder.encode_strings([before + text for text in texts])
    found: list[Any] = [None] * len(encoded)

    def take(rows: list[int], batch: _Batch, output: Any) -> None:
        _spread(found, rows, pool(output.last_hidden_state, batch["attention_mask"], model.pooling))

    _run(model, encoded, batch_tokens, progress, take)
    return _finite(_stacked(found), "embeddings")


@contextmanager
def computing(model: TaskModel) -> Iterator[None]:
    """Without gradients, in the model's precision; the weights are cast once for all batches within."""
    with (
        torch.inference_mode(),
        torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=model.precision == "bf16"),
    ):
        yield


def _run(
    model: TaskModel,
    encoded: Sequence[Encoded],
    batch_tokens: int,
    progress: _Progress | None,
    take: Callable[[list[int], _Batch, Any], None],
    **options: Any,
) -> None:
    """Hand each batch's numbers of rows, inputs and output to ``take``.

    A GPU works while the next batch is made and the one before is taken.
    """
    _check_ids(model, encoded)
    overhead = OVERHEAD if model.device.type == "cpu" else OVERHEAD_GPU
    plans = plan_batches([len(row) for row in encoded], batch_tokens, overhead=overhead)
    training = model.model.training
    model.model.eval()
    waiting: tuple[list[int], _Batch, Any] | None = None
    try:
        with computing(model):
            for rows in plans:
                batch = pad_batch([encoded[row] for row in rows], model.encoder.pad_id)
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                output = model.model(**batch, return_dict=True, **options)
                if waiting is not None:
                    _taken(waiting, take, progress)
                waiting = (rows, batch, output)
            if waiting is not None:
                _taken(waiting, take, progress)
    finally:
        model.model.train(training)


def _taken(
    done: tuple[list[int], _Batch, Any],
    take: Callable[[list[int], _Batch, Any], None],
    progress: _Progress | None,
) -> None:
    take(*done)
    if progress is not None:
        progress(len(done[0]))


def _logits(model: TaskModel, output: Any) -> NDArray[np.float32]:
    """(B, C), (B, L, C) or (B, L, 2), columns in the order of the task's labels."""
    if model.kind == "question-answering":
        logits = torch.stack((output.start_logits, output.end_logits), dim=-1)
    else:
        logits = output.logits
    found: NDArray[np.float32] = logits.float().cpu().numpy()
    return found if model.columns is None else found[..., list(model.columns)]


def _keep(found: list[Any], rows: list[int], encoded: Sequence[Encoded], logits: NDArray[np.float32]) -> None:
    """Put logits where they belong, without those of padding."""
    for row, scores in zip(rows, logits, strict=True):
        found[row] = _finite(scores if scores.ndim == 1 else scores[: len(encoded[row])].copy(), "logits")


def _finite(values: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise PolycompressError(
            f"The model's {name} are not all finite numbers: its weights are damaged, or too large for the "
            "precision. Try fp32; if it says the same, train or fetch the model anew."
        )
    return values


def _check_ids(model: TaskModel, encoded: Sequence[Encoded]) -> None:
    rows = int(model.model.get_input_embeddings().num_embeddings)
    highest = max((int(row.ids.max()) for row in encoded), default=0)
    if highest >= rows:
        raise InputError(
            f"tokenizer.json: the tokenizer gives the id {highest}, but the model's table has {rows} rows. The two do "
            "not belong together: restore the directory."
        )


def _spread(found: list[Any], rows: list[int], vectors: torch.Tensor) -> None:
    for row, vector in zip(rows, vectors.float().cpu().numpy(), strict=True):
        found[row] = vector


def _stacked(vectors: list[Any]) -> NDArray[np.float32]:
    return np.stack(vectors) if vectors else np.zeros((0, 0), dtype=np.float32)
