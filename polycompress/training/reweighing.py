"""A companion of a run that gives languages which lag behind their teacher more of what is left of it (DDK)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycompress.moe.shares import perplexity_ratios, reweighted
from polycompress.training.devices import Devices

logger = logging.getLogger(__name__)


class Loader(Protocol):
    """Batches whose languages' shares can be changed; ``BatchLoader`` is one."""

    @property
    def shares(self) -> dict[str, float]:
        """Of the tokens that are drawn next, by language."""

    def reweigh(self, shares: Mapping[str, float]) -> None:
        """Take others."""


class Measure(Protocol):
    """How far languages are from their teacher, on held-out text."""

    in_bits: bool
    """Whether they are measured in bits a byte; otherwise by a loss, of which 0 is the best."""

    def reference(self) -> Mapping[str, float]:
        """What languages are compared with, by code: the teacher's bits a byte, or the loss of the student as it is."""

    def student(self) -> Mapping[str, float]:
        """The same of the student, by code."""


class Reweighing:
    """Looks every so many steps, and reweighs.

    The first stretch has the shares that the run began with. What languages are compared with is measured once, before
    the first step: of a teacher that does not change, and of the student as it begins.
    """

    def __init__(
        self,
        loader: Loader,
        measure: Measure,
        devices: Devices,
        *,
        every: int,
        alpha: float,
        max_ratio: float,
    ) -> None:
        """Join what belongs together.

        Args:
            loader: At its beginning.
            measure: On the same languages.
            devices: The processes.
            every: Steps between looks.
            alpha: See ``reweighted``.
            max_ratio: See ``reweighted``.
        """
        self._loader, self._measure, self._devices = loader, measure, devices
        self._every, self._alpha, self._max_ratio = every, alpha, max_ratio
        self._reference: dict[str, float] | None = None
        self._ratios: dict[str, float] = {}
        self._shares = loader.shares

    def before_step(self, step: int) -> None:
        """Look, where it is time."""
        if self._reference is None:
            self._reference = self._agreed(self._measure.reference())
        if step == 0 or step % self._every:
            return
        found = self._agreed(self._measure.student())
        codes = list(self._shares)
        student, reference = (np.array([each[code] for code in codes]) for each in (found, self._reference))
        ratios = (
            perplexity_ratios(student, reference)
            if self._measure.in_bits
            else loss_ratios(student, reference)
        )
        shares = reweighted(
            np.array([self._shares[code] for code in codes]),
            ratios,
            alpha=self._alpha,
            max_ratio=self._max_ratio,
        )
        self._ratios = dict(zip(codes, ratios.tolist(), strict=True))
        self._shares = dict(zip(codes, shares.tolist(), strict=True))
        self._loader.reweigh(self._shares)
        logger.info(
            "step %d: shares of the next %d: %s",
            step,
            self._every,
            ", ".join(f"{code} {share:.3f}" for code, share in self._shares.items()),
        )

    def after_step(self, step: int) -> None:
        """Nothing is seen of steps themselves."""

    def figures(self) -> dict[str, Any]:
        """Shares by language, and after the first look the ratios that they come from."""
        ratios = {"language_ratios": dict(self._ratios)} if self._ratios else {}
        return {"language_shares": dict(self._shares), **ratios}

    def state_dict(self) -> dict[str, Any]:
        """Shares, the last ratios, and what they are taken of."""
        return {"shares": self._shares, "ratios": self._ratios, "reference": self._reference}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take them up; the loader has its own state."""
        self._shares, self._ratios = dict(state["shares"]), dict(state["ratios"])
        self._reference = None if state["reference"] is None else dict(state["reference"])

    def _agreed(self, values: Mapping[str, float]) -> dict[str, float]:
        """The first process's values for all: the order of texts must not hang on how another one rounds."""
        main = [value if self._devices.is_main else 0.0 for value in values.values()]
        return dict(zip(values, self._devices.total(main), strict=True))


def loss_ratios(losses: NDArray[np.float64], first: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses as shares of what they were, (L,); of a language that had nothing to learn 1, or infinity since then."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = losses / first
    return np.where((first == 0) & (losses == 0), 1.0, found)
