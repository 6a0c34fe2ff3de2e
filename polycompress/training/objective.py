"""The loss of a language model, computed where it counts: only labelled positions go through the head.

A hook on the base model picks the labelled positions out of its last hidden states, so that the library's own head
(dense layer, norm, whatever the family has) sees these alone; the output table's module hands on its input, and the
softmax over the vocabulary is ours: over all of it, or over the batch's own tokens and shared negatives, which keeps
the table's gradient sparse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.embeddings.module import FactorisedHead
from polycompress.errors import InputError
from polycompress.kernels.sampled_softmax import draw_negatives, sampled_softmax
from polycompress.training.batches import Batch
from polycompress.training.masking import IGNORED
from polycompress.training.model import Kind, attention_is_additive, make_table_sparse, output_is_tied

Loss = Literal["full", "sampled"]
_PROBE_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a forward pass takes."""

    inputs: Mapping[str, Tensor]
    rows: Tensor | None
    """(R,) distinct rows of sparse tables that it reads, so that the optimiser can bring them up to date before."""


class LanguageModelling(nn.Module):  # type: ignore[misc]
    """A language model and its loss as one module, so that what wraps modules (DDP, FSDP) wraps the whole."""

    def __init__(self, model: Any, kind: Kind, loss: Loss, *, or_full: bool = False) -> None:
        """Take over a model; its parameters stay the same objects under the same names.

        Args:
            model: Of transformers, with a head.
            kind: Which.
            loss: ``sampled`` makes the tables' gradients sparse.
            or_full: Whether to take the full loss where the model's cannot be sampled.

        Raises:
            InputError: A sampled loss is asked for, and the model's logits are more than a product with its table.
        """
        super().__init__()
        self.model, self.kind = model, kind
        self.loss: Loss = loss
        self._places: Tensor | None = None
        self.is_sparse = False
        self.head = _pass_input(model)
        model.base_model.register_forward_hook(self._keep_labelled)
        self.is_plain = self.head is not None and self._probe()
        trouble = self._make_sparse() if loss == "sampled" else None
        if trouble is not None and not or_full:
            raise InputError(f"{type(model).__name__}: {trouble}. Use --loss full.")
        if trouble is not None:
            self.loss = "full"
        if self.loss == "full" and not self.is_tied:
            self.is_sparse = make_table_sparse(model)

    @property
    def is_tied(self) -> bool:
        """Whether the head's table is the input table."""
        return output_is_tied(self.model)

    @property
    def vocabulary(self) -> int:
        """Rows of the table."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        position_ids: Tensor | None = None,
        negatives: Tensor | None = None,
        log_inclusion: Tensor | None = None,
    ) -> Tensor:
        """The mean loss over labelled positions; 0 where there is none.

        Args:
            input_ids: (B, L)
            attention_mask: (B, L), or (B, 1, L, L) where rows are packed.
            labels: (B, L) ``IGNORED`` where nothing is predicted; of causal models not shifted yet.
            position_ids: (B, L) where rows are packed.
            negatives: (M,) of a sampled loss.
            log_inclusion: (M,) of a sampled loss.
        """
        flat = shift(labels) if self.kind == "causal" else labels
        flat = flat.reshape(-1)
        places = (flat != IGNORED).nonzero().squeeze(1)
        wanted = flat[places]
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if position_ids is not None:
            inputs["position_ids"] = position_ids
        if not self.is_plain or self.head is None:
            logits = self._run(inputs, None)
            return mean_cross_entropy(logits.reshape(-1, logits.shape[-1])[places], wanted)
        hidden = self._run(inputs, places)
        if self.loss == "full" or negatives is None or log_inclusion is None:
            return mean_cross_entropy(functional.linear(hidden, self.head.table, self.head.bias), wanted)
        loss: Tensor = sampled_softmax(
            hidden,
            self.head.table,
            wanted,
            negatives,
            log_inclusion,
            bias=self.head.bias,
            ignore_index=IGNORED,
        )
        return loss

    def _run(self, inputs: Mapping[str, Tensor], places: Tensor | None) -> Tensor:
        """Logits, or where places are given what is multiplied with the head's table at them, (T, d)."""
        options = {"use_cache": False} if self.kind == "causal" else {}
        self._places = places
        if self.head is not None:
            self.head.passes = places is not None
        try:
            logits: Tensor = self.model(**inputs, **options).logits
        finally:
            self._places = None
            if self.head is not None:
                self.head.passes = False
        return logits if places is None else logits.reshape(-1, logits.shape[-1])

    def _keep_labelled(self, module: Any, arguments: Any, output: Any) -> Any:
        if self._places is None:
            return None
        states = output.last_hidden_state
        output.last_hidden_state = states.reshape(-1, states.shape[-1])[self._places].unsqueeze(0)
        return output

    def _probe(self) -> bool:
        """Whether hidden states at places times the table give what the model says there."""
        assert self.head is not None
        device = self.head.table.device
        ids = torch.arange(12, device=device).reshape(2, 6) % self.vocabulary
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        places = torch.tensor([1, 4, 9], device=device)
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                logits = self._run(inputs, None)
                theirs = logits.reshape(-1, logits.shape[-1])[places]
                ours = functional.linear(self._run(inputs, places), self.head.table, self.head.bias)
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, AssertionError):
            return False  # a head that wants the whole sequence
        finally:
            self.model.train(training)
        if ours.shape != theirs.shape:
            return False
        scale = float(theirs.abs().max())
        return bool((ours - theirs).abs().max() <= _PROBE_TOLERANCE * max(scale, 1e-6))

    def _make_sparse(self) -> str | None:
        """Make the tables' gradients sparse; why they cannot be, or None."""
        if self.head is None or not self.is_plain:
            return "its logits are more than a product of hidden states and a table, so the softmax cannot be sampled"
        if not make_table_sparse(self.model):
            table = type(self.model.get_input_embeddings()).__name__
            return f"its table is a {table}, whose gradient cannot be kept sparse"
        self.is_sparse = True
        self.head.has_sparse_gradient = True
        return None


class LanguageTask:
    """Batches to inputs, with the negatives of a sampled loss; what a step needs besides the module."""

    def __init__(
        self,
        objective: LanguageModelling,
        module: nn.Module,
        *,
        negatives: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        """Join what belongs together.

        Args:
            objective: The loss.
            module: The same, perhaps wrapped.
            negatives: Tries of a sampled loss.
            generator: On the CPU, for the negatives.
            device: Where the module is.
        """
        self.objective, self.module = objective, module
        self.negatives, self.generator, self.device = negatives, generator, device

    def weight(self, batch: Batch) -> int:
        """Over how many positions a batch's loss is a mean."""
        return batch.labelled

    def prepare(self, batch: Batch) -> Prepared:
        """Inputs of the module, and the rows of sparse tables that it will read."""
        assert batch.labels is not None
        drawn: dict[str, Tensor] = {}
        rows = None
        if self.objective.is_sparse:
            used = torch.cat([batch.input_ids.reshape(-1), batch.labels[batch.labels != IGNORED]])
            rows = torch.unique(used)
            if self.objective.loss == "sampled":
                # What the input holds is read anyway, so it takes part with certainty, as the labels do.
                extra, logs = draw_negatives(
                    rows, self.objective.vocabulary, self.negatives, generator=self.generator
                )
                drawn = {
                    "negatives": torch.cat([rows, extra]).to(self.device),
                    "log_inclusion": torch.cat([logs.new_zeros(len(rows)), logs]).to(self.device),
                }
                rows = torch.cat([rows, extra]).sort().values
            rows = rows.to(self.device)
        moved = batch.to(self.device)
        assert moved.labels is not None
        inputs = moved.inputs(
            causal=self.objective.kind == "causal", additive=attention_is_additive(self.objective.model)
        )
        return Prepared({**inputs, "labels": moved.labels, **drawn}, rows)


def shift(labels: Tensor) -> Tensor:
    """Labels where they are predicted: each at the position before its own, (B, L) to (B, L)."""
    return functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over (T,) labels in fp32; 0, with gradients, where there is none."""
    total: Tensor = functional.cross_entropy(logits.float(), labels, reduction="sum")
    return total / max(1, len(labels))


class _HeadInput(nn.Linear):  # type: ignore[misc]
    """The head's output table, which on demand hands on its input instead of multiplying it."""

    passes = False
    has_sparse_gradient = False

    @classmethod
    def in_place_of(cls, head: nn.Linear) -> _HeadInput:
        """One that shares a head's weights."""
        with torch.device("meta"):
            twin = cls(head.in_features, head.out_features, bias=head.bias is not None)
        twin.weight, twin.bias = head.weight, head.bias
        return twin

    @property
    def table(self) -> nn.Parameter:
        """What its input is multiplied with, (V, d)."""
        return self.weight

    def forward(self, input: Tensor) -> Tensor:
        return input if self.passes else super().forward(input)

    def row_tables(self) -> tuple[nn.Parameter, ...]:
        """The table, where its gradient is sparse."""
        return (self.table,) if self.has_sparse_gradient else ()


class _FactorisedHeadInput(FactorisedHead):
    """A factorised output, which on demand hands on what its coordinates would be multiplied with."""

    passes = False
    has_sparse_gradient = False

    @classmethod
    def in_place_of(cls, head: FactorisedHead) -> _FactorisedHeadInput:
        """One that shares a head's parameters."""
        with torch.device("meta"):
            twin = cls(head.in_features, head.out_features, head.rank, bias=False)
        twin.coordinates, twin.primitives, twin.bias = head.coordinates, head.primitives, head.bias
        return twin

    @property
    def table(self) -> nn.Parameter:
        """What its projected input is multiplied with, (V, r)."""
        return self.coordinates

    def forward(self, hidden: Tensor) -> Tensor:
        return self.project(hidden) if self.passes else super().forward(hidden)

    def row_tables(self) -> tuple[nn.Parameter, ...]:
        """The coordinates, where their gradient is sparse."""
        return (self.table,) if self.has_sparse_gradient else ()


def _pass_input(model: Any) -> _HeadInput | _FactorisedHeadInput | None:
    """Put a head that can hand on its input in the place of a model's own; None where it has another kind of output."""
    head = model.get_output_embeddings()
    twin: _HeadInput | _FactorisedHeadInput
    if type(head) is nn.Linear:
        twin = _HeadInput.in_place_of(head)
    elif type(head) is FactorisedHead:
        twin = _FactorisedHeadInput.in_place_of(head)
    else:
        return None
    twin.train(head.training)
    model.set_output_embeddings(twin)
    return twin
