"""Models of transformers whose table of tokens is factorised, made out of the library's own classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from polycompress.auto_classes import initial_std
from polycompress.embeddings.module import FactorisedEmbedding, FactorisedHead
from polycompress.errors import InputError

RANK_FIELD: Final = "factorised_rank"
"""Of ``config.json``."""
_FACTORS: Final = ("coordinates", "primitives")


class Factorised:
    """Before a model class of transformers: its table, and every table tied to it, are factors.

    The model is built as its class builds it; then the input table's module and the modules tied to it are exchanged
    for ``FactorisedEmbedding`` and ``FactorisedHead``, and tied by name again. A head that is not tied stays dense.
    """

    def __init__(self, config: Any, *inputs: Any, **options: Any) -> None:
        super().__init__(config, *inputs, **options)  # type: ignore[call-arg]
        factorise_modules(self, checked_rank(config))

    def initialize_weights(self) -> None:
        """The library's, and random factors for a table that the checkpoint lacks."""
        std = initial_std(getattr(self, "config", None))
        for module in self.modules():  # type: ignore[attr-defined]
            if isinstance(module, FactorisedEmbedding | FactorisedHead):
                known = [getattr(getattr(module, name), "_is_hf_initialized", False) for name in _FACTORS]
                if not all(known):
                    module.reset_parameters(std)
        super().initialize_weights()  # type: ignore[misc]

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Module:
        """As of every model: rows are added behind or cut off, and the configuration follows.

        Args:
            new_num_tokens: Rows of the table; None leaves them.
            pad_to_multiple_of: Rounds their number up.
            mean_resizing: New rows get the mean of all coordinates, else random ones of the library's spread.
        """
        table: FactorisedEmbedding = self.get_input_embeddings()  # type: ignore[attr-defined]
        if new_num_tokens is None and pad_to_multiple_of is None:
            return table
        rows = table.num_embeddings if new_num_tokens is None else new_num_tokens
        if pad_to_multiple_of is not None:
            rows = math.ceil(rows / pad_to_multiple_of) * pad_to_multiple_of
        _resize(self, table, rows, mean_resizing)
        return table

    def _adjust_bias(self, output_embeddings: Any, input_embeddings: Any) -> None:
        """The library's, without making the table for its number of rows."""
        if isinstance(output_embeddings, FactorisedHead):
            rows = len(output_embeddings.coordinates)
            output_embeddings.out_features = rows
            if output_embeddings.bias is not None:
                output_embeddings.bias.data = _longer(output_embeddings.bias.data, rows)
        elif isinstance(output_embeddings, FactorisedEmbedding):
            output_embeddings.num_embeddings = len(output_embeddings.coordinates)
        else:
            super()._adjust_bias(output_embeddings, input_embeddings)  # type: ignore[misc]


def factorise_modules(model: Any, rank: int) -> None:
    """Exchange a model's input table, and what is tied to it, for factors with random values, in place.

    Args:
        model: Of transformers 5.
        rank: r.

    Raises:
        InputError: The table's module does more than look rows up, or the rank is above its width.
    """
    import transformers

    table = model.get_input_embeddings()
    if isinstance(table, FactorisedEmbedding):
        return  # some heads build the base model by its Auto class, which is a factorised one already
    width = int(table.embedding_dim)
    if rank > width:
        raise InputError(f"config.json: {RANK_FIELD} is {rank}, but the table is {width} wide")
    names = {id(module): name for name, module in model.named_modules(remove_duplicate=False)}
    source = names[id(table)]
    tied = model.get_expanded_tied_weights_keys(all_submodels=True)
    # Of several ties to one table the library names the same source everywhere.
    root = tied.get(f"{source}.weight", f"{source}.weight")
    group = {root.removesuffix(".weight")}
    group |= {target.removesuffix(".weight") for target, origin in tied.items() if origin == root}
    submodels = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, transformers.PreTrainedModel)
    ]
    ties = {name: module.get_expanded_tied_weights_keys() for name, module in submodels}
    try:
        made: dict[int, nn.Module] = {}
        for name in sorted(group):
            module = model.get_submodule(name)
            if id(module) not in made:
                made[id(module)] = _factorised(module, rank)
            _put(model, name, made[id(module)])
    except TypeError as error:
        raise InputError(f"{type(model).__name__}: {error}") from error
    for name, module in submodels:
        prefix = f"{name}." if name else ""
        module._tied_weights_keys = _retied(ties[name], prefix, group)
        module.all_tied_weights_keys = _retied(
            dict(getattr(module, "all_tied_weights_keys", {})), prefix, group
        )
    if model.get_input_embeddings().coordinates.device.type != "meta":
        std = initial_std(model.config)
        for module in made.values():
            module.reset_parameters(std)
    model.tie_weights()


def checked_rank(config: Any) -> int:
    """The rank that a configuration names.

    Raises:
        InputError: It names none.
    """
    rank = getattr(config, RANK_FIELD, None)
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise InputError(
            f"config.json: {RANK_FIELD} is {rank!r}; a factorised model's is the width of its coordinates. Restore it"
        )
    return rank


def _factorised(module: nn.Module, rank: int) -> nn.Module:
    if isinstance(module, nn.Embedding):
        return FactorisedEmbedding.of(module, rank)
    if type(module) is nn.Linear:
        return FactorisedHead.of(module, rank)
    raise TypeError(f"a {type(module).__name__} is tied to the table; only plain outputs can be factorised")


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _retied(ties: Mapping[str, str], prefix: str, group: set[str]) -> dict[str, str]:
    """Names of tied parameters, those of factorised tables split in two."""
    found: dict[str, str] = {}
    for target, source in ties.items():
        if (prefix + target).removesuffix(".weight") in group:
            for factor in _FACTORS:
                found[f"{target.removesuffix('weight')}{factor}"] = f"{source.removesuffix('weight')}{factor}"
        else:
            found[target] = source
    return found


def _resize(model: Any, table: FactorisedEmbedding, rows: int, by_mean: bool) -> None:
    head = model.get_output_embeddings()
    old = table.coordinates.data
    if rows != len(old):
        fresh = old.new_empty(max(0, rows - len(old)), table.rank)
        if by_mean:
            fresh.copy_(old.float().mean(dim=0).expand_as(fresh))
        else:
            # so that the rows of the table, not of the coordinates, have the library's spread
            gain = float(table.primitives.detach().float().norm()) / table.embedding_dim**0.5
            nn.init.normal_(fresh, std=initial_std(model.config) / max(gain, 1e-12))
        parameter = nn.Parameter(
            torch.cat([old[:rows], fresh]), requires_grad=table.coordinates.requires_grad
        )
        for module in model.modules():
            if (
                isinstance(module, FactorisedEmbedding | FactorisedHead)
                and module.coordinates is table.coordinates
            ):
                if module is not table:
                    module.coordinates = parameter
        table.coordinates = parameter
    for module in model.modules():
        if isinstance(module, FactorisedEmbedding) and module.coordinates is table.coordinates:
            module.num_embeddings = rows
            if module.padding_idx is not None and module.padding_idx >= rows:
                module.padding_idx = None
    if isinstance(head, FactorisedHead):
        head.out_features = rows
        if head.bias is not None:
            head.bias.data = _longer(head.bias.data, rows)
    elif isinstance(head, nn.Linear):
        model.set_output_embeddings(model._get_resized_lm_head(head, rows, mean_resizing=by_mean))
    model.config.get_text_config().vocab_size = rows
    model.vocab_size = rows
    model.tie_weights()


def _longer(bias: Tensor, rows: int) -> Tensor:
    """A bias of so many rows: cut, or with zeros added."""
    missing = max(0, rows - len(bias))
    return torch.cat([bias[:rows], bias.new_zeros(missing)]) if len(bias) != rows else bias
