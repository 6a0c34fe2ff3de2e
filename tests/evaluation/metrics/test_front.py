"""What the package offers, in order."""

from __future__ import annotations

import polycompress.evaluation.metrics as metrics


def test_names_are_sorted_and_there() -> None:
    assert metrics.__all__ == sorted(metrics.__all__, key=str.lower)
    assert all(callable(getattr(metrics, name)) for name in metrics.__all__)
