"""A layer's router and experts in the place of its feed-forward network, and the layer around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.moe.config import MoeConfig
from polycompress.moe.context import Routing, RoutingContext
from polycompress.moe.experts import Experts, Router
from polycompress.moe.places import FfnPlace
from polycompress.moe.router import route


class MoeBlock(nn.Module):  # type: ignore[misc]
    """A router and the experts it chooses from. It knows nothing of languages: ``routing`` says who is forced.

    Args:
        config: Of the model.
        layer: The number of its layer.
        hidden: d.
        inner: f.
        gated: Whether the inner vector is activation(gate) * up.
        bias: Whether both ends have biases.
        activation: Elementwise.
        device: Of the parameters.
        dtype: Of the experts; the router has fp32.
    """

    def __init__(
        self,
        config: MoeConfig,
        layer: int,
        hidden: int,
        inner: int,
        *,
        gated: bool,
        bias: bool,
        activation: Callable[[Tensor], Tensor],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.layer, self.top_k, self.normalise = layer, config.top_k, config.normalise
        self.router = Router(hidden, config.experts, device=device)
        self.experts = Experts(
            config.experts,
            hidden,
            inner,
            gated=gated,
            bias=bias,
            activation=activation,
            device=device,
            dtype=dtype,
        )
        self.routing: Routing | None = None
        """Of the forward pass that runs; None: all tokens are routed, none is forced."""

    def reset_parameters(self, std: float) -> None:
        """Random values."""
        self.router.reset_parameters(std)
        self.experts.reset_parameters(std)

    def forward(self, hidden: Tensor) -> Tensor:
        """What the feed-forward network would give, of the same shape; zeros for padding.

        Args:
            hidden: (B, n, d)

        Raises:
            ValueError: The tokens are not those of the forward pass that runs.
        """
        flat, routing = hidden.reshape(-1, hidden.shape[-1]), self.routing
        if routing is not None and len(flat) != routing.shape[0] * routing.shape[1]:
            raise ValueError(
                f"layer {self.layer} has {len(flat)} tokens, but the model's input is {list(routing.shape)}"
            )
        tokens = None if routing is None else routing.tokens
        chosen = flat if tokens is None else _Rows.apply(flat, tokens)
        forced = None if routing is None else routing.forced
        indices, weights, probabilities = route(
            self.router(chosen), self.top_k, normalise=self.normalise, forced=forced
        )
        if routing is not None:
            routing.keep(self.layer, probabilities, indices)
        made = self.experts(chosen, indices, weights)
        if tokens is not None:
            made = _Places.apply(made, tokens, len(flat))
        return made.view(*hidden.shape[:-1], made.shape[-1])

    def extra_repr(self) -> str:
        """The choice."""
        return f"top_k={self.top_k}, normalise={self.normalise}"


class RoutedLayer:
    """Before a layer class of transformers: it takes the model's routing along when it is called.

    What it was called with stays with it, so that gradient checkpointing, which computes a layer again while other
    forward passes may have begun, routes tokens as they were routed.
    """

    moe_context: RoutingContext
    moe_module: str

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The library's, with what is known now."""
        options.setdefault("routing", self.moe_context.current)
        return super().__call__(*inputs, **options)  # type: ignore[misc]

    def forward(self, *inputs: Any, routing: Routing | None = None, **options: Any) -> Any:
        """The library's."""
        block: MoeBlock = getattr(self, self.moe_module)
        block.routing = routing
        try:
            return super().forward(*inputs, **options)  # type: ignore[misc]
        finally:
            block.routing = None


class RoutedEncoderLayer(RoutedLayer):
    """The same for layers whose network is two modules: the second one's dropout and norm stay outside the experts."""

    moe: MoeBlock
    output: Any

    def feed_forward_chunk(self, attention_output: Tensor) -> Tensor:
        """The network, and what comes after it."""
        made = self.output.dropout(self.moe(attention_output))
        normed: Tensor = self.output.LayerNorm(made + attention_output)
        return normed


def exchange_network(layer: Any, number: int, place: FfnPlace, context: RoutingContext) -> MoeBlock:
    """Put experts into the place of a layer's feed-forward network.

    Args:
        layer: A module of transformers, changed in place.
        number: Which layer it is.
        place: Of the model's family.
        context: Of the model.

    Returns:
        The experts, with values that mean nothing.

    Raises:
        InputError: The network is not of the kind that the family's are.
    """
    activation = layer.mlp.act_fn if place.gated else layer.intermediate.intermediate_act_fn
    if isinstance(activation, nn.Module) and next(activation.parameters(), None) is not None:
        raise InputError(
            f"config.json: {place.activation}: an activation with parameters of its own has no experts."
        )
    block = _gated_block(layer, number, context) if place.gated else _encoder_block(layer, number, context)
    if not place.gated:
        del layer.intermediate
        del layer.output.dense
        layer.chunk_size_feed_forward = 0  # tokens are told apart by their places in the whole input
    setattr(layer, place.module, block)
    layer.moe_context, layer.moe_module = context, place.module
    plain: Any = type(layer)
    mixin: Any = RoutedLayer if place.gated else RoutedEncoderLayer
    layer.__class__ = _layer_class(plain, mixin)
    return block


def _encoder_block(layer: Any, number: int, context: RoutingContext) -> MoeBlock:
    up = layer.intermediate.dense
    return MoeBlock(
        context.config,
        number,
        up.in_features,
        up.out_features,
        gated=False,
        bias=True,
        activation=layer.intermediate.intermediate_act_fn,
        device=up.weight.device,
        dtype=up.weight.dtype,
    )


def _gated_block(layer: Any, number: int, context: RoutingContext) -> MoeBlock:
    up = layer.mlp.up_proj
    if up.bias is not None:
        raise InputError(
            f"config.json: mlp_bias is true, and experts of gated networks have no biases (layer {number}: "
            "mlp.up_proj.bias)."
        )
    return MoeBlock(
        context.config,
        number,
        up.in_features,
        up.out_features,
        gated=True,
        bias=False,
        activation=layer.mlp.act_fn,
        device=up.weight.device,
        dtype=up.weight.dtype,
    )


@cache
def _layer_class(plain: type[Any], mixin: type[Any]) -> type[Any]:
    return type(
        "Moe" + plain.__name__,
        (mixin, plain),
        {"__module__": __name__, "__doc__": f"``{plain.__name__}`` with experts."},
    )


class _Rows(torch.autograd.Function):  # type: ignore[misc]
    """Some rows, each once: gradients are put back without adding."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.rows = len(flat)
        return flat.index_select(0, tokens)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (tokens,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.rows, gradient.shape[1]).index_copy(0, tokens, gradient), None


class _Places(torch.autograd.Function):  # type: ignore[misc]
    """Rows put to places among zeros."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, tokens: Tensor, places: int) -> Tensor:
        ctx.save_for_backward(tokens)
        return rows.new_zeros(places, rows.shape[1]).index_copy(0, tokens, rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (tokens,) = ctx.saved_tensors
        return gradient.index_select(0, tokens), None, None
