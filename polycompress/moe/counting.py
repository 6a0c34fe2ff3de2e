"""How many parameters experts add to a model, and how many a token passes through."""

from __future__ import annotations

from dataclasses import dataclass

from polycompress.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class MoeCounts:
    """Parameters, compared with the plain model whose networks the experts stand for."""

    total: int
    """Of the model."""
    active: int
    """The same without the experts that a token is not given: E - k in each layer with experts."""
    extra: int
    """What the plain model does not have."""
    extra_active: int
    """What of this a token passes through: k - 1 experts and the router, in each layer."""

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {
            "total": self.total,
            "active": self.active,
            "extra": self.extra,
            "extra_active": self.extra_active,
        }


def network_parameters(hidden: int, inner: int, *, gated: bool) -> int:
    """Parameters of one expert: three matrices where it is gated, else two and their biases.

    Args:
        hidden: d.
        inner: f.
        gated: Whether it has a gate, and no biases.
    """
    return 3 * hidden * inner if gated else 2 * hidden * inner + inner + hidden


def count_moe(
    plain: int, *, hidden: int, inner: int, gated: bool, layers: int, experts: int, top_k: int
) -> MoeCounts:
    """Count a model with experts, from the plain model that it is made of.

    With P parameters in a network, m layers get m ((E - 1) P + E d) more, of which m ((k - 1) P + E d) are active.

    Args:
        plain: Parameters of the plain model.
        hidden: d.
        inner: f.
        gated: Whether networks have a gate, and no biases.
        layers: m, layers with experts.
        experts: E.
        top_k: k.

    Raises:
        InputError: k is above E, or a number is below 1.
    """
    if not (1 <= top_k <= experts and layers >= 1):
        raise InputError(
            f"{layers} layers with {experts} experts, {top_k} for a token: there must be at least one of each, and no "
            "more for a token than there are."
        )
    network, router = network_parameters(hidden, inner, gated=gated), experts * hidden
    extra = layers * ((experts - 1) * network + router)
    extra_active = layers * ((top_k - 1) * network + router)
    return MoeCounts(total=plain + extra, active=plain + extra_active, extra=extra, extra_active=extra_active)
