"""What a teacher said before, as tensors of a batch.

They go by name: ``vectors`` (B, d) of whole texts, ``logits`` as ``Outputs`` has them, and ``hidden.3`` (B, n, d) for
hidden state 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from polycompress.distill.outputs import Outputs

VECTORS: Final = "vectors"
LOGITS: Final = "logits"
HIDDEN: Final = "hidden."
"""Before the number of the hidden state."""


def as_outputs(kept: Mapping[str, Tensor]) -> Outputs:
    """The same as objectives take it; what was kept in half precision is fp32 again."""
    wide = {name: tensor.float() for name, tensor in kept.items()}
    return Outputs(
        hidden={
            int(name.removeprefix(HIDDEN)): tensor for name, tensor in wide.items() if name.startswith(HIDDEN)
        },
        logits=wide.get(LOGITS),
        vectors=wide.get(VECTORS),
    )
