from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from polycompress.moe.shares import reweighted
from polycompress.training.devices import Devices
from polycompress.training.reweighing import Reweighing, loss_ratios


class Loader:
    def __init__(self) -> None:
        self.shares = {"deu-Latn": 0.75, "swh-Latn": 0.25}
        self.asked: list[dict[str, float]] = []

    def reweigh(self, shares: Mapping[str, float]) -> None:
        self.asked.append(dict(shares))


class Measure:
    """A student that gains on its teacher in the first language, and in the other not."""

    def __init__(self, *, in_bits: bool) -> None:
        self.in_bits, self.looks, self.references = in_bits, 0, 0

    def reference(self) -> Mapping[str, float]:
        self.references += 1
        return {"deu-Latn": 1.0, "swh-Latn": 2.0}

    def student(self) -> Mapping[str, float]:
        self.looks += 1
        return {"deu-Latn": 1.0 + 1 / self.looks, "swh-Latn": 3.0}


def companion(loader: Loader, measure: Measure, every: int = 4) -> Reweighing:
    return Reweighing(loader, measure, Devices(device="cpu"), every=every, alpha=0.5, max_ratio=4.0)


def go(found: Reweighing, first: int, last: int) -> None:
    for step in range(first, last):
        found.before_step(step)
        found.after_step(step + 1)


@pytest.mark.parametrize("in_bits", [True, False])
def test_looks_every_so_many_steps_and_reweighs(in_bits: bool) -> None:
    loader, measure = Loader(), Measure(in_bits=in_bits)
    found = companion(loader, measure)
    go(found, 0, 4)
    assert (measure.looks, loader.asked) == (0, [])  # the first stretch is as it was asked for
    assert found.figures() == {"language_shares": loader.shares}
    go(found, 4, 9)
    first = np.array([2.0, 2.0]) if in_bits else np.array([2.0, 1.5])
    second = np.array([math.sqrt(2), 2.0]) if in_bits else np.array([1.5, 1.5])
    middle = reweighted(np.array([0.75, 0.25]), first)
    last = reweighted(middle, second)
    assert [list(each.values()) for each in loader.asked] == [middle.tolist(), last.tolist()]
    assert found.figures() == {
        "language_shares": loader.asked[-1],
        "language_ratios": dict(zip(loader.shares, second.tolist(), strict=True)),
    }
    assert measure.references == 1


def test_taken_up_it_goes_on_the_same() -> None:
    loader, measure = Loader(), Measure(in_bits=True)
    whole = companion(loader, measure)
    go(whole, 0, 8)
    again_loader, again_measure = Loader(), Measure(in_bits=True)
    again_measure.looks = measure.looks
    again = companion(again_loader, again_measure)
    again.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for each in (whole, again):
        go(each, 8, 13)
    assert again_loader.asked == loader.asked[1:]
    assert again.state_dict() == whole.state_dict()
    assert again_measure.references == 0


def test_who_has_nothing_to_learn_does_not_lag() -> None:
    found = loss_ratios(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 4.0]))
    assert found.tolist() == [1.0, math.inf, 0.25]
    assert np.isfinite(reweighted(np.full(3, 1 / 3), found)).all()
