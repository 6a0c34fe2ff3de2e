"""Which share of the tokens each language gets: pure functions of the languages' sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.moe.shares import family_shares
from polycompress.training.config import OFFERED
from polycompress.training.errors import ConfigError

Strategy = Literal["proportional", "temperature", "unimax", "fixed", "families"]
_OFFERED: Final = ("proportional", "temperature", "unimax", "fixed")
_OFFER: Final = "give proportional, temperature, unimax or fixed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixing:
    """How the tokens of languages are mixed."""

    strategy: Strategy = field(default="proportional", metadata={OFFERED: _OFFERED})
    """``families`` is set where the families are known, not asked for by its name alone."""
    temperature: float = 10 / 3
    """Of ``temperature`` and ``families``: 1 is proportional, more is more even. Default: exponent 0.3 (Xue et al.,
    mT5, 2021)."""
    unimax_epochs: float = 1.0
    """Of ``unimax``: how often a language may be read at most within the budget (Chung et al. 2023, N)."""
    shares: Mapping[str, float] | None = None
    """Of ``fixed``: a weight for every language's code; they need not add up to 1."""
    families: Mapping[str, str] | None = None
    """Of ``families``: the family of every language's code; see ``moe.shares.family_shares``."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: Any are wrong; all are named.
        """
        wrong = []
        if self.strategy not in get_args(Strategy):
            wrong.append(f"strategy is {self.strategy!r}: {_OFFER}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            wrong.append(f"temperature is {self.temperature!r}: give a number above 0")
        if not (math.isfinite(self.unimax_epochs) and self.unimax_epochs > 0):
            wrong.append(f"unimax_epochs is {self.unimax_epochs!r}: give a number above 0")
        if self.strategy == "fixed" and not self.shares:
            wrong.append("shares is empty: fixed mixing needs a share for every language")
        if self.strategy != "fixed" and self.shares:
            wrong.append(f"shares is {dict(self.shares)!r}: only fixed mixing has them, not {self.strategy}")
        if self.strategy == "families" and not self.families:
            wrong.append(
                f"strategy is 'families', but families, which name the family of every language, is empty: {_OFFER}"
            )
        if wrong:
            raise ConfigError(wrong, "Mixing")


def proportional_shares(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares in proportion to sizes: (L,) to (L,)."""
    return np.asarray(sizes / sizes.sum())


def temperature_shares(sizes: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Shares in proportion to ``size ** (1 / temperature)``: 1 is proportional, infinity is uniform.

    Args:
        sizes: (L,) none negative, not all 0.
        temperature: Above 0.

    Reference:
        Devlin et al., multilingual BERT (2018); Conneau et al., XLM-R (2020), section 3.1.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(sizes / sizes.max()) / temperature
    weights = np.exp(logs)
    return np.asarray(weights / weights.sum())


def unimax_shares(sizes: NDArray[np.float64], budget: float, max_epochs: float) -> NDArray[np.float64]:
    """As even as can be without reading any language more often than so many times.

    From the smallest language up, each gets an even part of what is left of the budget, or as much as it has when it is
    read ``max_epochs`` times, whichever is less; what it cannot use goes to the larger ones.

    Args:
        sizes: (L,) in tokens (the paper: characters).
        budget: Of the whole training, in the same unit; above 0.
        max_epochs: N, above 0.

    Returns:
        (L,) adding up to 1. Where the budget is larger than all languages read N times, in proportion to their sizes.

    Reference:
        Chung et al., "UniMax" (ICLR 2023), algorithm 1, https://arxiv.org/abs/2304.09151.
    """
    given = np.zeros(len(sizes))
    left = float(budget)
    order = np.argsort(sizes, kind="stable")
    for done, language in enumerate(order):
        given[language] = min(sizes[language] * max_epochs, left / (len(sizes) - done))
        left -= given[language]
    return np.asarray(given / given.sum())


def shares_of(
    mixing: Mixing, codes: Sequence[str], sizes: NDArray[np.float64], budget: float | None
) -> NDArray[np.float64]:
    """The shares that a mixing gives.

    Args:
        mixing: How.
        codes: (L,) of the languages.
        sizes: (L,) in tokens, all above 0.
        budget: Tokens of the stretch that it is for; only ``unimax`` needs it.

    Returns:
        (L,) adding up to 1.

    Raises:
        InputError: The budget is missing, or fixed shares do not fit the languages.
    """
    if mixing.strategy == "proportional":
        return proportional_shares(sizes)
    if mixing.strategy == "temperature":
        return temperature_shares(sizes, mixing.temperature)
    if mixing.strategy == "unimax":
        if budget is None or not budget > 0:
            raise InputError(
                "UniMax needs to know how many tokens the training sees in all: give a token budget."
            )
        return unimax_shares(sizes, budget, mixing.unimax_epochs)
    if mixing.strategy == "families":
        families = mixing.families or {}
        if without := [code for code in codes if code not in families]:
            raise InputError(
                f"Mixing by families: {', '.join(without)} is of no family. Name one, or leave it out."
            )
        return family_shares(sizes, [families[code] for code in codes], mixing.temperature)
    return _fixed_shares(mixing.shares or {}, codes)


def check_mixing(mixing: Mixing, codes: Sequence[str]) -> None:
    """Refuse a mixing that cannot be one of these languages, before their sizes are known.

    Raises:
        InputError: Fixed shares, or families, do not fit the languages.
    """
    shares_of(mixing, codes, np.ones(len(codes)), 1.0)


def _fixed_shares(shares: Mapping[str, float], codes: Sequence[str]) -> NDArray[np.float64]:
    asked, wrong = ", ".join(codes), []
    wrong += [f"{code} has no share (give 0 to leave it out)" for code in codes if code not in shares]
    wrong += [f"{code} is not among the languages ({asked})" for code in shares if code not in codes]
    wrong += [
        f"the share of {code} is {share!r}, not a number of at least 0"
        for code, share in shares.items()
        if not (math.isfinite(share) and share >= 0)
    ]
    if not wrong and not sum(shares.values()) > 0:
        wrong.append("all are 0")
    if wrong:
        raise InputError(f"Fixed shares: {'; '.join(wrong)}.")
    weights = np.array([shares[code] for code in codes], dtype=np.float64)
    return np.asarray(weights / weights.sum())
