"""Models of transformers with language-family experts in some layers, made out of the library's own classes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from polycompress.auto_classes import initial_std
from polycompress.modeldir.axes_table import base_type
from polycompress.moe.config import FIELD, MoeConfig
from polycompress.moe.context import RoutingContext
from polycompress.moe.experts import Experts, Router
from polycompress.moe.layer import exchange_network
from polycompress.moe.places import place_of


class Moe:
    """Before a model class of transformers: the layers that its configuration names have experts.

    The model is built as its class builds it; then these layers' feed-forward networks are exchanged. Its forward pass
    takes two arguments more, both optional:

    - ``language_ids``, integers (B,) of texts or (B, n) of tokens: places in the sorted languages of the configuration,
      -1 where the language is unknown. In training mode a known token's family has an expert among its k, with the
      probability ``moe_context.forcing``; else only where the configuration's ``routing`` is ``forced``.
    - ``token_mask``, bool (B, n): false for padding, which is neither routed nor counted. Without it padding is what
      the attention mask says, if that is (B, n).
    """

    moe_context: RoutingContext

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        forward = cls.forward  # type: ignore[attr-defined]
        if not hasattr(forward, "takes_languages"):
            cls.forward = _taking_languages(forward)  # type: ignore[attr-defined]
        kept = getattr(cls, "_keep_in_fp32_modules_strict", None) or ()
        cls._keep_in_fp32_modules_strict = {*kept, "router"}  # type: ignore[attr-defined]

    def __init__(self, config: Any, *inputs: Any, **options: Any) -> None:
        super().__init__(config, *inputs, **options)  # type: ignore[call-arg]
        install_experts(self)

    def initialize_weights(self) -> None:
        """The library's, and random values for routers and experts that the checkpoint lacks."""
        std = initial_std(getattr(self, "config", None))
        for module in self.modules():  # type: ignore[attr-defined]
            if isinstance(module, Router | Experts) and not all(
                getattr(each, "_is_hf_initialized", False) for each in module.parameters()
            ):
                module.reset_parameters(std)
        super().initialize_weights()  # type: ignore[misc]


def install_experts(model: Any) -> None:
    """Exchange the feed-forward networks of the layers that a model's configuration names, in place.

    Args:
        model: Of transformers 5; its configuration has the field ``moe``. Experts and routers get random values.

    Raises:
        InputError: The field is wrong, or the family's networks are not known.
    """
    place = place_of(base_type(model.config.model_type))
    base = model.base_model
    found = getattr(base, "moe_context", None)
    if found is not None:  # some heads build the base model by its Auto class, which has its experts already
        model.moe_context = found
        return
    config = MoeConfig.from_dict(
        getattr(model.config, FIELD, None), model_layers=getattr(model.config, place.count)
    )
    context = RoutingContext(config)
    layers = base.get_submodule(place.layers.removesuffix("."))
    std = initial_std(model.config)
    for number in config.layers:
        block = exchange_network(layers[number], number, place, context)
        if block.router.weight.device.type != "meta":
            block.reset_parameters(std)
    base.register_forward_pre_hook(context.enter, with_kwargs=True)
    model.moe_context = base.moe_context = context


def _taking_languages(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that takes language ids and a token mask besides."""

    @functools.wraps(plain)
    def forward(
        self: Moe,
        *inputs: Any,
        language_ids: Tensor | None = None,
        token_mask: Tensor | None = None,
        **options: Any,
    ) -> Any:
        with self.moe_context.given(language_ids, token_mask):
            return plain(self, *inputs, **options)

    known = inspect.signature(plain)
    names = list(known.parameters.values())
    at = len(names) - (1 if names and names[-1].kind is inspect.Parameter.VAR_KEYWORD else 0)
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Tensor | None)
        for name in ("language_ids", "token_mask")
    ]
    forward.__signature__ = known.replace(parameters=[*names[:at], *more, *names[at:]])  # type: ignore[attr-defined]
    forward.takes_languages = True  # type: ignore[attr-defined]
    return forward
