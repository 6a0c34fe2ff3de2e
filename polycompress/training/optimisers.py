"""One optimiser for a model with large tables: fused AdamW for what is dense, row by row for the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl
from polycompress.kernels.embedding_gradient import merge_rows
from polycompress.kernels.rowwise_adamw import (
    RowState,
    catch_up_,
    caught_up,
    next_decay_sum,
    rowwise_adamw_,
)
from polycompress.kernels.rowwise_adamw.state import SecondMoment
from polycompress.training.rows import clip_gradients, find_tables

__all__ = ["clip_gradients", "norm_ids", "param_groups", "Restriction", "SplitAdamW"]


class Restriction(Protocol):
    """Which weights may move; ``sparse_tuning.SparseTuning`` is one."""

    def restrict_gradients_(self) -> None:
        """Change the gradients of a whole optimiser step, before they are clipped."""

    def decay_(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Decay what may move, before it is stepped; the groups themselves have no weight decay."""


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters by the field's convention: no decay on norms and biases.

    Args:
        model: Parameters that need no gradient are left out; tables are found by their modules (``SparseEmbedding``).
        weight_decay: Of everything else.

    Returns:
        Up to three groups: matrices, norms and biases (``weight_decay`` 0), and tables (``rows`` True).
    """
    tables = find_tables(model)
    known = {id(table) for table in tables}
    norms = norm_ids(model)
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():  # tied ones come once
        if not parameter.requires_grad or id(parameter) in known:
            continue
        spared = parameter.ndim < 2 or id(parameter) in norms or name.endswith("bias")
        (plain if spared else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay, "rows": False},
        {"params": plain, "weight_decay": 0.0, "rows": False},
        {"params": list(tables), "weight_decay": weight_decay, "rows": True},
    ]
    return [group for group in groups if group["params"]]


def norm_ids(model: nn.Module) -> set[int]:
    """The ``id()`` of every parameter of a norm, whatever kind of norm it is."""
    return {
        id(parameter)
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
        for parameter in module.parameters(recurse=False)
    }


class SplitAdamW(torch.optim.Optimizer):  # type: ignore[misc]
    """AdamW whose step costs what the batch touched.

    Dense groups are stepped by torch's fused AdamW. Groups with ``rows`` True hold (V, d) tables with sparse gradients;
    their touched rows are stepped by ``rowwise_adamw_``, and their weight decay catches up: **call**
    ``before_forward(ids)`` **before the model reads rows** of a table, and export with ``exported_state``.

    Args:
        params: Parameters or groups, as torch's optimisers take; see ``param_groups``.
        lr: Learning rate.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled weight decay of groups that name none.
        second_moment: Of the tables: one per ``element``, or one per ``row`` (half the state, another optimiser).
        fused: Torch's fused AdamW for dense groups; False where a device has none.
        impl: Which implementation of the row-wise step.

    Raises:
        InputError: A table is not a matrix.
    """

    param_groups: list[dict[str, Any]]
    restriction: Restriction | None = None
    """Set it where only some weights are trained."""

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        second_moment: SecondMoment = "element",
        fused: bool = True,
        impl: Impl = "auto",
    ) -> None:
        self._second_moment = second_moment
        self._impl: Impl = impl
        self._fused = fused
        self._dense: torch.optim.AdamW | None = None
        self._states: dict[Tensor, RowState] = {}
        self._decay_sums: dict[Tensor, float] = {}
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "rows": False}
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; ``rows`` True says that it holds tables."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        if group["rows"]:
            for table in group["params"]:
                if table.ndim != 2:
                    raise InputError(
                        f"a table of rows must be (V, d), got {tuple(table.shape)}; "
                        f"put it into a group without rows=True"
                    )
        elif self._dense is None:
            # The inner optimiser holds the very same group, so schedules that set its rate reach both.
            self._dense = torch.optim.AdamW([group], lr=group["lr"], fused=self._fused)
            self.state = self._dense.state
        else:
            self._dense.add_param_group(group)

    @property
    def tables(self) -> tuple[Tensor, ...]:
        """The tables, in order."""
        return tuple(table for group in self.param_groups if group["rows"] for table in group["params"])

    def before_forward(self, ids: Tensor, tables: Sequence[Tensor] | None = None) -> None:
        """Catch up the weight decay of rows that are about to be read.

        Args:
            ids: Of any shape, duplicates allowed: every row that the model will read (input ids, sampled negatives).
            tables: Whose; None is all tables.

        Raises:
            InputError: An id lies outside a table.
        """
        owing = [
            table for table in (self.tables if tables is None else tables) if self._decay_sums.get(table)
        ]
        if not owing:
            return
        rows = torch.unique(ids.long())
        for table in owing:
            catch_up_(
                table,
                rows.to(table.device),
                self._state_of(table),
                self._decay_sums[table],
                impl=self._impl,
            )

    @contextmanager
    def caught_up_within(self, ids: Tensor) -> Iterator[None]:
        """Rows caught up inside of a block only: measuring must not change, by a rounding, what training goes on from.

        Args:
            ids: As of ``before_forward``.
        """
        rows = torch.unique(ids.long())
        kept = []
        for table in self.tables:
            if self._decay_sums.get(table):
                here, state = rows.to(table.device), self._state_of(table)
                kept.append((table.detach(), here, table.detach()[here], state.decayed, state.decayed[here]))
        self.before_forward(rows)
        try:
            yield
        finally:
            with torch.no_grad():
                for values, here, old_values, decayed, old_decayed in kept:
                    values.index_copy_(0, here, old_values)
                    decayed.index_copy_(0, here, old_decayed)

    def restrict_gradients_(self) -> None:
        """Take the gradients of weights that must not move away: **call** it **before clipping**."""
        if self.restriction is not None:
            self.restriction.restrict_gradients_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update everything that has a gradient.

        Raises:
            InputError: A table's gradient is dense.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.restriction is not None:
            self.restriction.decay_(self.param_groups)
        for group in self.param_groups:
            if group["rows"]:
                for table in group["params"]:
                    if table.grad is not None:
                        self._step_table(table, group)
        if self._dense is not None:
            self._dense.step()
        return loss

    def exported_state(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state dict with all weight decay applied, for export; nothing in training changes.

        Tables are copies, tied names share one; all else is the model's own memory.
        """
        copies = {
            table.data_ptr(): caught_up(table, self._state_of(table), self._decay_sums[table])
            for table in self.tables
            if self._decay_sums.get(table)
        }
        return {name: copies.get(tensor.data_ptr(), tensor) for name, tensor in model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later ``load_state_dict`` needs; of a table only the rows ever touched."""
        return {
            "dense": None if self._dense is None else self._dense.state_dict(),
            "groups": [
                {key: value for key, value in group.items() if key != "params"} for group in self.param_groups
            ],
            "tables": [
                {
                    "shape": tuple(table.shape),
                    "decay_sum": self._decay_sums.get(table, 0.0),
                    "state": self._states[table].compact() if table in self._states else None,
                }
                for table in self.tables
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up a saved state; tensors go to the devices of the parameters.

        Raises:
            InputError: It belongs to another model, or to other groups.
        """
        self._check_fits(state_dict)
        if self._dense is not None:
            self._dense.load_state_dict(state_dict["dense"])
            self.state = self._dense.state
        dense = iter(self._dense.param_groups if self._dense is not None else ())
        self.param_groups = [
            {**saved, "params": group["params"]} if group["rows"] else next(dense)
            for group, saved in zip(self.param_groups, state_dict["groups"], strict=True)
        ]
        self._states, self._decay_sums = {}, {}
        for table, saved in zip(self.tables, state_dict["tables"], strict=True):
            self._decay_sums[table] = float(saved["decay_sum"])
            if saved["state"] is not None:
                self._states[table] = RowState.expanded(table, saved["state"])

    def _step_table(self, table: Tensor, group: Mapping[str, Any]) -> None:
        if not table.grad.is_sparse:
            raise InputError(
                f"the gradient of the {tuple(table.shape)} table is dense: something besides the lookup reads the "
                f"whole table (a tied output head?); use sampled_softmax for the head, or leave the table out of "
                f"the groups with rows=True"
            )
        rows, gradients = merge_rows(table.grad, impl=self._impl)
        decay_sum = self._decay_sums.get(table, 0.0)
        rowwise_adamw_(
            table,
            rows,
            gradients,
            self._state_of(table),
            lr=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decay_sum=decay_sum,
            impl=self._impl,
        )
        self._decay_sums[table] = next_decay_sum(decay_sum, group["lr"], group["weight_decay"])

    def _state_of(self, table: Tensor) -> RowState:
        """The table's state, on the table's device wherever the model has been moved since."""
        state = self._states.get(table)
        if state is None:
            state = RowState.zeros(table, self._second_moment)
        elif state.first.device != table.device:
            state = state.to(table.device)
        self._states[table] = state
        return state

    def _check_fits(self, state_dict: Mapping[str, Any]) -> None:
        here = [
            (len(group["params"]), bool(group["rows"])) for group in self.param_groups if not group["rows"]
        ]
        dense = state_dict["dense"] or {"param_groups": [], "state": {}}
        there = [(len(group["params"]), False) for group in dense["param_groups"]]
        kinds = [bool(group["rows"]) for group in self.param_groups]
        if here != there or kinds != [bool(group["rows"]) for group in state_dict["groups"]]:
            raise InputError(
                f"this optimiser state has {len(state_dict['groups'])} groups with {sum(n for n, _ in there)} dense "
                f"parameters, the optimiser has {len(kinds)} with {sum(n for n, _ in here)}: "
                f"it is of another model or of other groups"
            )
        parameters = [p for group in self.param_groups if not group["rows"] for p in group["params"]]
        for place, parameter in enumerate(parameters):
            saved = dense["state"].get(place, {}).get("exp_avg")
            if saved is not None and saved.shape != parameter.shape:
                raise InputError(
                    f"this optimiser state has a moment of shape {tuple(saved.shape)} for parameter {place}, which is "
                    f"{tuple(parameter.shape)}: it is of another model"
                )
        shapes = [tuple(table.shape) for table in self.tables]
        saved_shapes = [tuple(saved["shape"]) for saved in state_dict["tables"]]
        if shapes != saved_shapes:
            raise InputError(
                f"this optimiser state is of tables {saved_shapes}, the model has {shapes}: it is of another model"
            )
