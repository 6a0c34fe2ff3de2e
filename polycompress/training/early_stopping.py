"""When a run ends before its last step: no evaluation has been better for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from polycompress.errors import InputError

Verdict = Literal["better", "equal", "worse"]


class Judged(Protocol):
    """What the rule must know of a run's state."""

    @property
    def looks_since_best(self) -> int:
        """Evaluations since the one that was better than all before it."""


def compare(score: float, best: float | None, *, higher_is_better: bool) -> Verdict:
    """An evaluation against the best one before it.

    Args:
        score: Of the evaluation; one that is no number is worse than any.
        best: Of the best before; None: there was none.
        higher_is_better: Which way is up.
    """
    if score != score:
        return "worse"
    if best is None:
        return "better"
    if score == best:
        return "equal"
    return "better" if (score > best) == higher_is_better else "worse"


@dataclass(frozen=True, slots=True)
class Patience:
    """Ends a run after so many evaluations in a row of which none was better than all before them; 0: never.

    It asks the state alone, which snapshots hold: a run that was taken up ends where an unbroken one does.
    """

    evaluations: int

    def __post_init__(self) -> None:
        """Check the value.

        Raises:
            InputError: It is negative.
        """
        if self.evaluations < 0:
            raise InputError(f"patience is {self.evaluations}: give 0 (never) or more evaluations.")

    def __call__(self, state: Judged) -> bool:
        """Whether to end here."""
        return 0 < self.evaluations <= state.looks_since_best
