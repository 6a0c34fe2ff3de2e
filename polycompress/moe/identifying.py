"""Language ids of texts whose language nobody gives: a model that identifies languages says which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from polycompress.corpora.identifying import languages_seen
from polycompress.moe.config import MoeConfig
from polycompress.moe.context import UNKNOWN


def identified(config: MoeConfig, texts: Sequence[str], model: Path, *, threshold: float = 0.5) -> Tensor:
    """What a model with experts takes as ``language_ids``.

    Example:
        >>> ids = identified(model.moe_context.config, texts, Path("lid.176.ftz"))  # doctest: +SKIP
        >>> model(**tokenizer(texts, padding=True, return_tensors="pt"), language_ids=ids)  # doctest: +SKIP

    Args:
        config: Of the model with experts; texts are forced to a family only where its ``routing`` is ``forced``.
        texts: B of them.
        model: A supervised fastText model whose labels are codes or names of languages.
        threshold: Probability of a text's language at least; 0 to 1.

    Returns:
        (B,) int64; ``UNKNOWN`` where the model is less sure, or sees a language that the experts do not know.

    Raises:
        MissingExtraError: fastText is not installed.
        InputError: The file is no such model, or knows none of the languages.
    """
    codes = config.codes
    seen = languages_seen(model, texts, codes, threshold=threshold)
    return torch.tensor([UNKNOWN if code is None else codes.index(code) for code in seen], dtype=torch.int64)
