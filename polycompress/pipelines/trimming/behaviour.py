"""Compare what two models compute, on real text (``--full``): needs torch and transformers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.directory import read_json
from polycompress.pipelines.trimming.loading import architectures

if TYPE_CHECKING:
    import torch

BATCH: Final = 8
LOGITS_TOLERANCE: Final = 1e-5
"""Of the largest logit: the head's product runs over another number of columns, so its sums may round otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Behaviour:
    """Outputs of two models on the same texts (fp32 or the checkpoint's own dtype, CPU, same batch shapes)."""

    texts: int
    """Texts compared: those whose tokens are all kept."""
    hidden_max_abs: float
    """Largest absolute difference of any hidden state; infinite where one is no number and the other is."""
    logits_max_abs: float | None
    """Largest absolute difference of any output of the head, on the kept ids; None without a head."""
    logits_scale: float | None
    """Largest absolute output of the source's head, of the finite ones on the kept ids."""

    @property
    def passed(self) -> bool:
        """Hidden states are equal, and logits to ``LOGITS_TOLERANCE`` of the largest."""
        logits = self.logits_max_abs is None or self.logits_max_abs <= LOGITS_TOLERANCE * (
            self.logits_scale or 0.0
        )
        return self.hidden_max_abs == 0.0 and logits

    def describe(self) -> str:
        """One line for people."""
        head = "no head" if self.logits_max_abs is None else f"logits by at most {self.logits_max_abs:.3g}"
        return f"hidden states differ by at most {self.hidden_max_abs:.3g}, {head} ({self.texts} texts)"


def compare_behaviour(
    source: Path,
    trimmed: Path,
    ids: Sequence[Sequence[int]],
    keep_ids: NDArray[np.int64],
    max_length: int = 128,
) -> Behaviour:
    """Run both models on the same texts and compare what comes out.

    Args:
        source: The source's directory.
        trimmed: The trimmed model's directory.
        ids: Source token ids of texts, all of them kept; long ones are cut.
        keep_ids: (K,) source id of each new id.
        max_length: Longest input, in tokens.

    Returns:
        The largest differences.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        InputError: A model cannot be loaded, or there is no text to compare.
    """
    if not ids:
        raise InputError(
            "--full has no text to compare: none of the held-out texts consists of kept tokens only. Give more text: "
            "a larger --corpus when trimming, --text when verifying"
        )
    try:
        import torch
    except ImportError:
        raise MissingExtraError("--full", "train") from None
    old_to_new = {int(old): new for new, old in enumerate(keep_ids)}
    cut = [list(text[:max_length]) for text in ids if text]
    kept = torch.from_numpy(keep_ids)
    model = _load(source)
    before = [_run(model, batch, kept) for batch in _batches(cut, _pad_id(source))]
    del model
    model = _load(trimmed)
    if (pad := _pad_id(source)) not in old_to_new:
        pad = int(keep_ids[0])
    batches = _batches([[old_to_new[token] for token in text] for text in cut], old_to_new[pad])
    hidden = logits = scale = 0.0
    has_head = False
    for (old_states, old_head), batch in zip(before, batches, strict=True):
        new_states, new_head = _run(model, batch, None)
        hidden = max(hidden, *(_gap(old, new) for old, new in zip(old_states, new_states, strict=True)))
        for old, new in zip(old_head, new_head, strict=True):
            has_head = True
            logits = max(logits, _gap(old, new[..., : old.shape[-1]]))
            scale = max(scale, float(old[old.isfinite()].abs().max()) if old.isfinite().any() else 0.0)
    return Behaviour(
        texts=len(cut),
        hidden_max_abs=hidden,
        logits_max_abs=logits if has_head else None,
        logits_scale=scale if has_head else None,
    )


def _load(path: Path) -> Any:
    try:
        import torch
        import transformers

        from polycompress.own_models import model_class
    except ImportError:
        raise MissingExtraError("--full", "train") from None
    config = read_json(path, "config.json") or {}
    names = architectures(config)
    loader = (model_class(names[0], config) if names else None) or transformers.AutoModel
    torch.manual_seed(0)  # weights that the file does not hold, such as a pooler, start equal in both models
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    bars = importlib.import_module("transformers.utils.logging")
    bars.disable_progress_bar()
    try:
        return loader.from_pretrained(path, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: transformers cannot load this model: {error}") from error
    finally:
        transformers.logging.set_verbosity(level)
        bars.enable_progress_bar()


def _run(
    model: Any, batch: dict[str, torch.Tensor], kept: torch.Tensor | None
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Hidden states, and outputs of the head: of heads over the vocabulary only those of the ``kept`` ids."""
    import torch

    inputs = dict(batch)
    if getattr(model.config, "is_encoder_decoder", False):
        inputs |= {"decoder_input_ids": batch["input_ids"], "decoder_attention_mask": batch["attention_mask"]}
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    states: list[torch.Tensor] = []
    for key in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        states.extend(getattr(output, key, None) or ())
    heads = [getattr(output, key, None) for key in ("logits", "start_logits", "end_logits")]
    rows = model.get_input_embeddings().num_embeddings
    return states, [
        head[..., kept] if kept is not None and head.shape[-1] == rows else head
        for head in heads
        if head is not None
    ]


def _batches(texts: Sequence[Sequence[int]], pad: int) -> Iterator[dict[str, torch.Tensor]]:
    import torch

    for start in range(0, len(texts), BATCH):
        rows = texts[start : start + BATCH]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        yield {"input_ids": ids, "attention_mask": mask}


def _pad_id(path: Path) -> int:
    config = read_json(path, "config.json") or {}
    pad = config.get("pad_token_id")
    return pad if isinstance(pad, int) else 0


def _gap(old: torch.Tensor, new: torch.Tensor) -> float:
    """Largest absolute difference; equal infinities and numbers that are none in both differ by 0."""
    same = (old == new) | (old.isnan() & new.isnan())
    gap = (old.float() - new.float()).abs().masked_fill(same, 0.0)
    return float(gap.nan_to_num(nan=float("inf"), posinf=float("inf")).max())
