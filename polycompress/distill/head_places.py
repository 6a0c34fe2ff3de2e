"""A language model's head asked at some tokens alone: answers at all of them would fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

_TOLERANCE: Final = 1e-4
"""Of the largest logit."""


class HeadPlaces:
    """Picks the tokens out of what a model without its head puts out, so that the head sees these alone."""

    def __init__(self, model: Any) -> None:
        """Take a model of transformers with a head over its vocabulary; nothing changes until places are named."""
        self._model = model
        self._places: Tensor | None = None
        model.base_model.register_forward_hook(self._pick)
        self._is_exact = self._probe()

    def logits(self, inputs: dict[str, Any], places: Tensor) -> tuple[Any, Tensor]:
        """What the model says, and its logits at some tokens.

        Args:
            inputs: Of the model.
            places: (T,) int64 numbers of tokens, counted through the batch of B texts of n.

        Returns:
            The model's own output, and (T, V) logits.
        """
        if not self._is_exact:  # a head that wants the whole sequence
            found = self._model(**inputs)
            return found, found.logits.reshape(-1, found.logits.shape[-1])[places]
        with self._at(places):
            found = self._model(**inputs)
        return found, found.logits.reshape(-1, found.logits.shape[-1])

    @contextmanager
    def _at(self, places: Tensor) -> Iterator[None]:
        self._places = places
        try:
            yield
        finally:
            self._places = None

    def _pick(self, module: Any, arguments: Any, output: Any) -> Any:
        if self._places is None:
            return None
        states = output.last_hidden_state
        output.last_hidden_state = states.reshape(-1, states.shape[-1])[self._places].unsqueeze(0)
        return output

    def _probe(self) -> bool:
        """Whether the head says of picked tokens what it says of them among all others."""
        model = self._model
        table = model.get_input_embeddings()
        ids = torch.arange(12, device=next(table.parameters()).device).reshape(2, 6) % table.num_embeddings
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "return_dict": True}
        places = torch.tensor([1, 4, 9], device=ids.device)
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                logits = model(**inputs).logits
                theirs = logits.reshape(-1, logits.shape[-1])[places]
                with self._at(places):
                    ours = model(**inputs).logits.reshape(-1, logits.shape[-1])
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
            return False
        finally:
            model.train(training)
        if ours.shape != theirs.shape:
            return False
        scale = float(theirs.abs().max())
        return bool((ours - theirs).abs().max() <= _TOLERANCE * max(scale, 1e-6))
