"""What a model says about a batch, as far as objectives ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What objectives want to see of one model."""

    hidden: frozenset[int] = frozenset()
    """Hidden states: 0 is the output of the embeddings, i that of layer i - 1, as transformers number them."""
    queries: frozenset[int] = frozenset()
    """Queries of layers, which count from 0."""
    keys: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()
    logits: bool = False

    def __or__(self, other: Needs) -> Needs:
        """What both want."""
        return Needs(
            **{each.name: getattr(self, each.name) | getattr(other, each.name) for each in fields(self)}
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outputs:
    """What one model said. Mappings are by layer, see ``Needs``; heads are those of the model's own attention."""

    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    """(B, n, d)"""
    queries: Mapping[int, Tensor] = field(default_factory=dict)
    """(B, A, n, d / A)"""
    keys: Mapping[int, Tensor] = field(default_factory=dict)
    """(B, A, n, d / A); fewer heads where several queries share one."""
    values: Mapping[int, Tensor] = field(default_factory=dict)
    """(B, A, n, d / A); fewer heads where several queries share one."""
    logits: Tensor | None = None
    """(..., C): (B, C) of a text, (B, n, C) of tokens, (B, 2, n) of the two ends of an answer; -inf is allowed."""
    words: Tensor | None = None
    """(B, W, n) how this model's tokens are averaged to words, where models cut texts differently; a row of zeros is no
    word. See ``alignment``."""
    mask: Tensor | None = None
    """(B, n) bool, True for real tokens, of a teacher that is shown tokens of its own; None: ``Given.mask`` is of its
    tokens too."""
    vectors: Tensor | None = None
    """(B, d) vectors of whole texts that come ready, such as out of a ``TeacherStore``."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Given:
    """What both models were told."""

    mask: Tensor
    """(B, n) bool, True for real tokens."""
    valid: Tensor | None = None
    """(...) bool, where logits count, of the shape of all but their last axis; None: everywhere."""
    labels: Tensor | None = None
    """(...) classes, -100 where there is none."""
    others: tuple[Outputs, ...] = ()
    """What further teachers said."""
    source: Tensor | None = None
    """(B,) int64, for each text of the student the number of the teacher's text that says the same, perhaps in another
    language; None: its own."""
