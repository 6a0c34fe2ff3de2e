"""What the experts of a model are told of its tokens: which are padding, whose families they must use."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

from polycompress.errors import InputError
from polycompress.moe.config import MoeConfig

UNKNOWN: Final = -1
"""The language id of tokens that are never forced."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one layer's router did."""

    probabilities: Tensor
    """(T, E), with the graph of the forward pass; gradient checkpointing of the reentrant kind leaves none."""
    indices: Tensor
    """(T, k) the experts chosen."""


@dataclass(slots=True, kw_only=True)
class Routing:
    """One forward pass: T is the number of its tokens without padding."""

    shape: tuple[int, int]
    """Of the input: texts and their length."""
    tokens: Tensor | None = None
    """(T,) which of all places, counted through the texts; None: there is no padding."""
    languages: Tensor | None = None
    """(T,) language ids, ``UNKNOWN`` where there is none; None: none was given."""
    families: Tensor | None = None
    """(T, E) bool, the experts of each token's family."""
    forced: Tensor | None = None
    """(T, E) bool, the same where the family's expert must be among the k; None: nowhere."""
    collects: bool = False
    records: dict[int, Record] = field(default_factory=dict)
    """By layer, where asked for."""

    def keep(self, layer: int, probabilities: Tensor, indices: Tensor) -> None:
        """Note what a layer's router did, once: gradient checkpointing computes layers again."""
        if self.collects and layer not in self.records:
            self.records[layer] = Record(probabilities, indices)


class RoutingContext:
    """Of one model: its layers with experts look here at what they are told.

    The base model's forward pass makes ``current`` anew before its first layer, from the attention mask and from the
    language ids that the model was called with. A layer takes it along, so that what gradient checkpointing computes
    again is routed as it was.
    """

    def __init__(self, config: MoeConfig) -> None:
        """Start with nothing known.

        Args:
            config: Of the model.
        """
        self.config = config
        self.forcing = 1.0
        """Probability that a token of a known language is forced while training; drawn from torch's generator."""
        self.collects = False
        """Whether ``current.records`` gets what the routers do."""
        self.current: Routing | None = None
        """Of the latest forward pass."""
        self._spoken = UNKNOWN
        self._language_ids: Tensor | None = None
        self._token_mask: Tensor | None = None
        self._families: Tensor | None = None

    @contextmanager
    def given(self, language_ids: Tensor | None, token_mask: Tensor | None) -> Iterator[None]:
        """What the model's forward pass was called with, for as long as it runs."""
        if language_ids is None and token_mask is None:
            yield
            return
        before = self._language_ids, self._token_mask
        self._language_ids, self._token_mask = language_ids, token_mask
        try:
            yield
        finally:
            self._language_ids, self._token_mask = before

    @contextmanager
    def speaking(self, language: str) -> Iterator[None]:
        """Every text meanwhile is in one language, where no ids say otherwise.

        Args:
            language: A code; one that the model does not know forces nothing.
        """
        before, codes = self._spoken, self.config.codes
        self._spoken = codes.index(language) if language in codes else UNKNOWN
        try:
            yield
        finally:
            self._spoken = before

    def enter(self, module: Any, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        """Before the base model's forward pass: a hook.

        Raises:
            InputError: Language ids or the token mask do not fit the input.
        """
        kind: Any = type(module)
        named = {**dict(zip(_names(kind), inputs, strict=False)), **options}
        ids = named.get("input_ids")
        given = ids if ids is not None else named.get("inputs_embeds")
        if given is None:
            return  # the model itself says what is missing
        shape = (int(given.shape[0]), int(given.shape[1]))
        # a base model with experts of its own is called with both; one inside another model is not
        token_mask = named.get("token_mask", self._token_mask)
        language_ids = named.get("language_ids", self._language_ids)
        tokens = _tokens(shape, _valid(shape, token_mask, named.get("attention_mask")))
        routing = Routing(shape=shape, tokens=tokens, collects=self.collects)
        if language_ids is None and self._spoken != UNKNOWN:
            language_ids = torch.full(shape[:1], self._spoken)
        if language_ids is not None:
            self._force(routing, language_ids.to(given.device), training=bool(module.training))
        self.current = routing

    def _force(self, routing: Routing, language_ids: Tensor, *, training: bool) -> None:
        languages = _per_token(language_ids, routing.shape, len(self.config.codes))
        if routing.tokens is not None:
            languages = languages[routing.tokens]
        routing.languages = languages
        routing.families = self._family_table(languages.device)[languages]  # -1 is the last row
        if training and self.forcing < 1.0:
            drawn = torch.rand(len(languages), device=languages.device) < self.forcing
            routing.forced = routing.families & drawn.unsqueeze(1)
        elif training or self.config.routing == "forced":
            routing.forced = routing.families

    def _family_table(self, device: torch.device) -> Tensor:
        """(L + 1, E) bool: the experts of each language's family; the last row is that of unknown ones."""
        if self._families is None or self._families.device != device:
            table = torch.zeros(len(self.config.codes) + 1, self.config.experts, dtype=torch.bool)
            for number, code in enumerate(self.config.codes):
                table[number, list(self.config.expert_mask_of(code))] = True
            self._families = table.to(device)
        return self._families

    def __getstate__(self) -> dict[str, Any]:
        """Copies and files have nothing of a forward pass."""
        passing = {"current": None, "_language_ids": None, "_token_mask": None, "_spoken": UNKNOWN}
        return {**self.__dict__, **passing}


def in_language(model: Any, language: str) -> AbstractContextManager[None]:
    """What a model is told while it reads texts of one language; only one with experts minds.

    Args:
        model: Of transformers.
        language: A code.
    """
    context = getattr(model, "moe_context", None)
    return nullcontext() if context is None else context.speaking(language)


def forced_languages(model: Any) -> tuple[str, ...]:
    """The languages that a model wants to be told at inference too, by number; none of any other model."""
    context = getattr(model, "moe_context", None)
    return tuple(context.config.codes) if context is not None and context.config.routing == "forced" else ()


def _valid(shape: tuple[int, int], token_mask: Tensor | None, attention_mask: Any) -> Tensor | None:
    """(B, n) bool: what is no padding; None where nothing says so."""
    if token_mask is not None:
        if tuple(token_mask.shape) != shape:
            raise InputError(
                f"token_mask is {list(token_mask.shape)}, but the input is {list(shape)}: give true for each token and "
                "false for padding."
            )
        return token_mask != 0
    if (
        not isinstance(attention_mask, Tensor)
        or attention_mask.ndim != 2
        or attention_mask.shape[1] < shape[1]
    ):
        return None  # of packed rows the mask does not say what is padding
    return attention_mask[:, -shape[1] :] != 0  # what comes before is in the cache


def _tokens(shape: tuple[int, int], valid: Tensor | None) -> Tensor | None:
    if valid is None:
        return None
    tokens = valid.reshape(-1).nonzero().squeeze(1)
    return None if len(tokens) == shape[0] * shape[1] else tokens


def _per_token(language_ids: Tensor, shape: tuple[int, int], languages: int) -> Tensor:
    """(B n,) ids of texts or tokens."""
    if language_ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8):
        raise InputError(
            f"language_ids are {language_ids.dtype}; give integers, -1 where the language is unknown."
        )
    if tuple(language_ids.shape) not in ((shape[0],), shape):
        raise InputError(
            f"language_ids are {list(language_ids.shape)}, but the input is {list(shape)}: give one for each text, "
            f"[{shape[0]}], or one for each token."
        )
    if language_ids.numel() and not UNKNOWN <= int(language_ids.min()) <= int(language_ids.max()) < languages:
        raise InputError(
            f"language_ids are {int(language_ids.min())} to {int(language_ids.max())}, but the model has {languages} "
            f"languages: ids are 0 to {languages - 1}, in order of their codes, and -1 where it is unknown."
        )
    wide = language_ids.long() if language_ids.ndim == 2 else language_ids.long().unsqueeze(1).expand(shape)
    return wide.reshape(-1)


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    """Names of what the forward pass of a class takes, in order."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]
