"""Sparse rows between the model, the optimiser and other processes: finding tables, gathering gradients, clipping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl
from polycompress.kernels.embedding_gradient import embedding_gradient, merge_rows
from polycompress.kernels.prepared import sparse_rows


@runtime_checkable
class HasRowTables(Protocol):
    """A module some of whose parameters get gradients that are sparse by rows."""

    def row_tables(self) -> tuple[nn.Parameter, ...]:
        """These parameters."""
        ...


def find_tables(model: nn.Module) -> tuple[nn.Parameter, ...]:
    """The parameters whose gradients are sparse by rows, each once, in the order of modules."""
    tables = {
        table: None
        for module in model.modules()
        if isinstance(module, HasRowTables)
        for table in module.row_tables()
        if table.requires_grad
    }
    return tuple(tables)


def clip_gradients(parameters: Iterable[Tensor], max_norm: float, *, impl: Impl = "auto") -> Tensor:
    """Scale all gradients so that their common Euclidean norm is at most ``max_norm``; sparse rows count.

    Sparse gradients are merged first (each row once), since the norm of a sum is not that of its parts.

    Args:
        parameters: Those of the model; some without a gradient, some with a sparse one.
        max_norm: The limit; infinity only measures.
        impl: Which implementation merges rows.

    Returns:
        The norm before, a scalar on the gradients' device (0 on the CPU without any).

    Raises:
        InputError: The limit is not positive.
    """
    if not max_norm > 0:
        raise InputError(f"max_norm must be above 0, got {max_norm}; leave the call out to clip nothing")
    dense: list[Tensor] = []
    values: list[Tensor] = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if not gradient.is_sparse:
            dense.append(parameter)
            continue
        rows, merged = merge_rows(gradient, impl=impl)
        merged = merged.to(gradient.dtype)
        parameter.grad = sparse_rows(rows, merged, gradient.shape)
        values.append(merged)
    norms = [_whole(get_total_norm([parameter.grad for parameter in dense]))] if dense else []
    norms += [torch.linalg.vector_norm(merged, dtype=_at_least_float32(merged)) for merged in values]
    if not norms:
        return torch.zeros(())
    kind = torch.float64 if any(norm.dtype is torch.float64 for norm in norms) else torch.float32
    total = torch.linalg.vector_norm(torch.stack([norm.to(kind) for norm in norms]))
    clip_grads_with_norm_(dense, max_norm, total)
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)  # as torch does for the dense ones
    for merged in values:
        merged.mul_(factor)
    return total


def gather_gradients_(tables: Sequence[nn.Parameter], *, group: Any = None, impl: Impl = "auto") -> None:
    """Average the gradients of replicated tables over all processes, in place; every process must call it.

    Does nothing in a single process. A table without a gradient on every process keeps none.
    """
    if _processes(group) == 1:
        return
    for table in tables:
        absent = table.grad is None
        gradient = table.grad
        if gradient is None:
            nothing = torch.empty(0, dtype=torch.int64, device=table.device)
            gradient = sparse_rows(nothing, table.new_empty(0, table.shape[1]), table.shape)
        gathered = gather_rows(gradient, group=group, impl=impl)
        if not (absent and gathered._nnz() == 0):
            table.grad = gathered


def average_dense_gradients_(parameters: Iterable[Tensor], *, group: Any = None) -> None:
    """Average gradients over all processes, in place, after backward passes in which DDP did not; all must call it.

    A parameter without a gradient on every process keeps none; one that others have a gradient of counts as zero here.
    """
    world = _processes(group)
    parameters = list(parameters)
    if world == 1 or not parameters:
        return
    found = torch.tensor([each.grad is not None for each in parameters], device=parameters[0].device).int()
    distributed.all_reduce(found, group=group)
    for parameter, processes in zip(parameters, found.tolist(), strict=True):
        if processes:
            parameter.grad = (
                torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.div_(world)
            )
            distributed.all_reduce(parameter.grad, group=group)


def gather_rows(gradient: Tensor, *, group: Any = None, impl: Impl = "auto") -> Tensor:
    """The mean over all processes of a sparse gradient, as DDP takes it for dense ones.

    Processes touch different rows, and different numbers of them. Everybody gets everybody's rows and adds them in the
    order of ranks, so that all processes end with the same bits.

    Args:
        gradient: (V, d) sparse COO, coalesced or not.
        group: The process group; None is the default one.
        impl: Which implementation merges rows.

    Returns:
        (V, d) sparse COO, coalesced; on one process the same gradient, merged.
    """
    world = _processes(group)
    rows, values = merge_rows(gradient, impl=impl)
    if world > 1:
        count = torch.tensor([rows.numel()], device=rows.device)
        counts = [torch.empty_like(count) for _ in range(world)]
        distributed.all_gather(counts, count, group=group)
        amounts = [int(each) for each in counts]
        rows = torch.cat(_gather_ragged(rows, amounts, group))
        values = torch.cat(_gather_ragged(values, amounts, group))
        rows, values = embedding_gradient(rows, values.div_(world), impl=impl)
    return sparse_rows(rows, values.to(gradient.dtype), gradient.shape)


def leave_out_of_ddp_(model: nn.Module, tables: Sequence[nn.Parameter]) -> None:
    """Keep tables out of DistributedDataParallel's buckets, and start all processes with rank 0's.

    To be called before the model is wrapped; ``gather_gradients_`` then does for the tables what DDP does for the rest.
    Buffers are left alone as well: DDP would send rank 0's in every forward pass, to processes that may be trying a
    batch again while others wait.
    """
    wanted = {id(table) for table in tables}
    names = [name for name, found in model.named_parameters(remove_duplicate=False) if id(found) in wanted]
    names += [name for name, _ in model.named_buffers(remove_duplicate=False)]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    if _processes(None) > 1:
        for table in tables:
            distributed.broadcast(table.detach(), src=0)


def _gather_ragged(tensor: Tensor, amounts: Sequence[int], group: Any) -> list[Tensor]:
    """Every process's tensor, of the given first sizes: padded to the longest on the way."""
    padded = tensor.new_zeros(max(amounts), *tensor.shape[1:])
    padded[: tensor.shape[0]] = tensor
    gathered = [torch.empty_like(padded) for _ in amounts]
    distributed.all_gather(gathered, padded, group=group)
    return [part[:amount] for part, amount in zip(gathered, amounts, strict=True)]


def _processes(group: Any) -> int:
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return int(distributed.get_world_size(group))


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype is torch.float64 else torch.float32


def _whole(norm: Tensor) -> Tensor:
    """The norm of sharded gradients (FSDP's DTensor) over all shards."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm
