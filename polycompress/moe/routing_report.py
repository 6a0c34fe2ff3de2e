"""What a router does with each language, layer by layer: a report that can be written, read again and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.moe.config import MAX_EXPERTS, MAX_LANGUAGES, MAX_LAYERS, MoeConfig
from polycompress.moe.statistics import (
    RoutingCounts,
    at_home_shares,
    drifts,
    entropies,
    family_sums,
    mean_probabilities,
    mean_uncertainty,
    overlaps,
    routing_shares,
)

Floats = NDArray[np.float64]
_TOLERANCE: Final = 1e-6
"""Of a sum of shares that was read."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LayerRouting:
    """One layer, L languages and E experts."""

    tokens: NDArray[np.int64]
    """(L,)"""
    shares: Floats
    """(L, E) of the choices that were made for a language's tokens, those of each expert; see ``routing_shares``."""
    probabilities: Floats
    """(L, E) the means of the router's probabilities."""
    uncertainty: Floats
    """(L,) the mean entropy of the router's probabilities for one token, in bits."""
    at_home: Floats
    """(L,) the share of tokens that reach an expert of their own family."""

    @property
    def entropy(self) -> Floats:
        """(L,) of a language's shares, in bits: 0 where all its tokens go one way."""
        return entropies(self.shares)

    @property
    def overlap(self) -> Floats:
        """(L, L) see ``overlaps``."""
        return overlaps(self.shares)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RoutingReport:
    """All layers that have experts."""

    languages: Mapping[str, str]
    """Code to family, in the order of the rows: family by family."""
    families: Mapping[str, tuple[int, ...]]
    """The experts of each."""
    experts: int
    top_k: int
    layers: Mapping[int, LayerRouting]

    @property
    def mean_overlap(self) -> dict[int, float]:
        """By layer, the mean over all pairs of languages: less is more specialised. Nothing of one language alone."""
        count = len(self.languages)
        if count < 2:
            return {}
        pairs = np.triu_indices(count, 1)
        return {number: float(layer.overlap[pairs].mean()) for number, layer in self.layers.items()}

    def drift(self, older: Mapping[int, Mapping[str, Sequence[float]]]) -> dict[int, dict[str, float]]:
        """How far each language's routing has moved, by layer; see ``drifts``.

        Args:
            older: As ``read_shares`` gives them; what is in one of both alone is left out.
        """
        found: dict[int, dict[str, float]] = {}
        for number, layer in self.layers.items():
            for row, code in enumerate(self.languages):
                if code in older.get(number, {}):
                    before = np.array([older[number][code]])
                    moved = float(drifts(before, layer.shares[row : row + 1])[0])
                    found.setdefault(number, {})[code] = moved
        return found

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: what ``read_shares`` reads."""
        return {
            "languages": dict(self.languages),
            "families": {name: list(experts) for name, experts in self.families.items()},
            "experts": self.experts,
            "top_k": self.top_k,
            "layers": {str(number): self._layer(layer) for number, layer in self.layers.items()},
            "mean_overlap": {str(number): value for number, value in self.mean_overlap.items()},
        }

    def _layer(self, layer: LayerRouting) -> dict[str, Any]:
        families = family_sums(layer.shares, self.families)
        return {
            "languages": {
                code: {
                    "tokens": int(layer.tokens[row]),
                    "shares": layer.shares[row].tolist(),
                    "probabilities": layer.probabilities[row].tolist(),
                    "families": dict(zip(self.families, families[row].tolist(), strict=True)),
                    "own_family": float(layer.at_home[row]),
                    "entropy": float(layer.entropy[row]),
                    "uncertainty": float(layer.uncertainty[row]),
                }
                for row, code in enumerate(self.languages)
            },
            "overlap": layer.overlap.tolist(),
        }


def by_family(moe: MoeConfig, codes: Sequence[str]) -> dict[str, str]:
    """Languages with their families, those of one family together, in the order of the families' first experts.

    Args:
        moe: Which family has which experts.
        codes: That the model knows.
    """
    first = {name: min(experts) for name, experts in moe.families.items()}
    ordered = sorted(codes, key=lambda code: (first[moe.languages[code]], moe.languages[code], code))
    return {code: moe.languages[code] for code in ordered}


def homes_of(moe: MoeConfig, codes: Sequence[str]) -> NDArray[np.bool_]:
    """Which experts are those of each language's family, (L, E); none of a language that is unknown."""
    homes = np.zeros((len(codes), moe.experts), dtype=np.bool_)
    for row, code in enumerate(codes):
        homes[row, list(moe.expert_mask_of(code))] = True
    return homes


def report_routing(
    moe: MoeConfig, languages: Mapping[str, str], counts: Mapping[int, RoutingCounts]
) -> RoutingReport:
    """Read a report off what was counted.

    Args:
        moe: Of the model.
        languages: Code to family, as ``by_family`` gives them; rows of the counts are in this order.
        counts: By layer.
    """
    return RoutingReport(
        languages=dict(languages),
        families=dict(moe.families),
        experts=moe.experts,
        top_k=moe.top_k,
        layers={
            number: LayerRouting(
                tokens=seen.tokens,
                shares=routing_shares(seen),
                probabilities=mean_probabilities(seen),
                uncertainty=mean_uncertainty(seen),
                at_home=at_home_shares(seen),
            )
            for number, seen in sorted(counts.items())
        },
    )


def read_shares(value: Any, experts: int, where: str) -> dict[int, dict[str, list[float]]]:
    """The shares of an older report, by layer and language.

    Args:
        value: Parsed JSON that may hold anything.
        experts: That the report has to be of.
        where: It comes from, for messages.

    Raises:
        InputError: It is no such report, or of another number of experts.
    """
    try:
        own, layers = int(value["experts"]), value["layers"]
        if not 1 <= len(layers) <= MAX_LAYERS or not 1 <= own <= MAX_EXPERTS:
            raise ValueError
        found = {
            int(number): {str(code): _row(one["shares"], own) for code, one in _languages(layer).items()}
            for number, layer in layers.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{where}: is no report of routing. Give a file that `polycompress moe routes --json` wrote, or a model."
        ) from error
    if own != experts:
        raise InputError(
            f"{where}: is of {own} experts, but the model has {experts}: their routing cannot be compared. Give a "
            "report of the same model before it was trained."
        )
    return found


def _languages(layer: Any) -> dict[str, Any]:
    languages = layer["languages"]
    if not isinstance(languages, dict) or len(languages) > MAX_LANGUAGES:
        raise ValueError
    return languages


def _row(shares: Any, experts: int) -> list[float]:
    """Shares of all experts: numbers from 0 on that add up to 1, or to 0 where nothing was seen."""
    row = [float(share) for share in shares]
    total = sum(row)
    # A sum that is no number fails the comparison.
    if len(row) != experts or min(row) < 0 or not min(abs(total - 1), abs(total)) <= _TOLERANCE:
        raise ValueError
    return row
