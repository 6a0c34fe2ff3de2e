"""What a teacher said before, as tensors of a batch.

They go by name: ``vectors`` (B, d) of whole texts, ``logits`` as ``Outputs`` has them, and ``hidden.3`` (B, n, d) for
hidden state 3. Of answers over a vocabulary there are the likeliest alone, see ``top_k``: ``top.ids`` (B, n, k),
``top.log_probs`` (B, n, k) and ``top.tail`` (B, n), and ``top.classes`` (1,), how many they are of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from polycompress.distill.outputs import Outputs

VECTORS: Final = "vectors"
LOGITS: Final = "logits"
HIDDEN: Final = "hidden."
"""Before the number of the hidden state."""
TOP: Final = "top."
"""Before the parts of the likeliest answers."""
CLASSES: Final = TOP + "classes"


def as_outputs(kept: Mapping[str, Tensor], places: Tensor | None = None) -> Outputs:
    """The same as objectives take it; what was kept in half precision is fp32 again.

    Args:
        kept: By name.
        places: (T,) tokens, counted through the batch, at which answers over a vocabulary are asked for; None: at all.
    """
    wide = {name: tensor.float() for name, tensor in kept.items() if not name.startswith(TOP)}
    return Outputs(
        hidden={
            int(name.removeprefix(HIDDEN)): tensor for name, tensor in wide.items() if name.startswith(HIDDEN)
        },
        logits=_spread(kept, places) if CLASSES in kept else wide.get(LOGITS),
        vectors=wide.get(VECTORS),
    )


def _spread(kept: Mapping[str, Tensor], places: Tensor | None) -> Tensor:
    """(T, V), or (B, n, V): the kept logarithms of probabilities, and the tail's mass spread over all other classes."""
    ids, log_probs, tail = (kept[TOP + name] for name in ("ids", "log_probs", "tail"))
    if places is not None:
        ids, log_probs, tail = (each.flatten(0, 1)[places] for each in (ids, log_probs, tail))
    classes = int(kept[CLASSES])
    # Where next to nothing is left for the others, they are unlikely, not impossible.
    each = (tail.float() / max(1, classes - ids.shape[-1])).clamp_min(torch.finfo(torch.float32).tiny)
    rest = each.log()[..., None]
    spread = rest.expand(*ids.shape[:-1], classes).clone()
    return spread.scatter_(-1, ids.long(), log_probs.float())
