"""Which language each token of a batch is of, as models with experts of language families are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from polycompress.moe.context import UNKNOWN
from polycompress.training.batches import Batch

if TYPE_CHECKING:
    from polycompress.training.distilling_inputs import Inputs

FIELD: Final = "language_ids"
TOKENS: Final = "token_mask"
"""Arguments of such models."""


def language_ids(batch: Batch, languages: Sequence[str]) -> Tensor:
    """The number of each token's language, in packed rows too.

    Args:
        batch: Of texts, each of one language.
        languages: Codes by number.

    Returns:
        (B, L) int64, ``UNKNOWN`` for padding and languages without a number.
    """
    numbers = {code: number for number, code in enumerate(languages)}
    own = torch.tensor([numbers.get(code, UNKNOWN) for code in batch.languages])
    ids = torch.full(batch.attention_mask.shape, UNKNOWN)
    # Texts stand row after row without gaps, so their tokens come in the mask's own order.
    ids[batch.attention_mask.cpu() != 0] = own.repeat_interleave(torch.tensor(batch.lengths))
    return ids.to(batch.attention_mask.device)


class LanguageInputs:
    """Batches of other inputs; the student, and it alone, is told the languages as well."""

    def __init__(self, inputs: Inputs, languages: Sequence[str]) -> None:
        """Join what belongs together.

        Args:
            inputs: What batches become.
            languages: Codes by number, as the student counts them.
        """
        self._inputs, self._languages = inputs, tuple(languages)

    def weight(self, batch: Batch) -> int:
        """As theirs."""
        return self._inputs.weight(batch)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Theirs, and ``student_inputs``."""
        inputs, told = self._inputs(batch)
        own = {FIELD: language_ids(batch, self._languages)}
        if batch.document_ids is not None:  # the mask of packed rows does not say what is padding
            own[TOKENS] = batch.attention_mask != 0
        return inputs, {**told, "student_inputs": own}
