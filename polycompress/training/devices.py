"""Where a run computes: one process or many, through Accelerate and torch's own wrappers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polycompress.errors import InputError, MissingExtraError
from polycompress.training.memory import FittedShapes
from polycompress.training.rows import leave_out_of_ddp_

Parallel = Literal["ddp", "fsdp"]


class Devices:
    """The processes of a run, and this one's device.

    With DDP every process holds the model; with FSDP it is cut into pieces. Tables whose gradients are sparse are
    whole everywhere in either case, and outside of what the wrappers synchronise: their rows are gathered apart.
    """

    def __init__(
        self,
        *,
        precision: Literal["fp32", "bf16"] = "fp32",
        parallel: Parallel = "ddp",
        device: Literal["auto", "cpu"] = "auto",
    ) -> None:
        """Join the processes that a launcher (torchrun, accelerate launch) started; without one there is this one.

        Raises:
            MissingExtraError: Accelerate is not installed.
            InputError: The device cannot compute in bf16.
        """
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise MissingExtraError("training", "train") from error
        cpu = device == "cpu" or not torch.cuda.is_available()
        if precision == "bf16" and not cpu and not torch.cuda.is_bf16_supported():
            raise InputError("precision is 'bf16', which this GPU cannot compute in: use fp32.")
        try:
            self.accelerator: Any = Accelerator(cpu=cpu)
        except ValueError as error:  # Accelerate keeps one device for a process
            raise InputError(
                f"device is {device!r}, but another run in this process has taken another device: {error}"
            ) from error
        # Accelerate's own setting is one for the whole process; two runs side by side may differ.
        self.precision = precision
        self.parallel = parallel
        self.fitted = FittedShapes()
        """Batches that this process's memory has sufficed for."""

    @property
    def device(self) -> torch.device:
        """Of this process."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(self.accelerator.process_index)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return bool(self.accelerator.is_main_process)

    def wrap(
        self,
        module: nn.Module,
        tables: Sequence[nn.Parameter],
        blocks: Sequence[nn.Module] = (),
        *,
        is_partly_used: bool = False,
    ) -> nn.Module:
        """Bring a module to this device, and to all processes alike.

        Args:
            module: Its parameters stay the same objects, but with FSDP, where they become pieces.
            tables: Parameters that stay whole and are not synchronised.
            blocks: Of FSDP: modules that are gathered one at a time.
            is_partly_used: Whether a loss may leave some parameters without gradients, such as a pooler's: processes
                then look for them in each step, instead of waiting for them.

        Returns:
            The module to call; ``module`` itself can be asked for its parameters all the same.
        """
        module.to(self.device)
        if self.world_size == 1 and self.parallel == "ddp":
            wrapped: nn.Module = self.accelerator.prepare_model(module)
            return wrapped
        self._alike(module)
        if self.parallel == "fsdp":
            from torch.distributed.fsdp import fully_shard

            whole = set(tables)
            for block in blocks:
                fully_shard(block, mesh=self._mesh(), ignored_params=whole)
            sharded: nn.Module = fully_shard(module, mesh=self._mesh(), ignored_params=whole)
            return sharded
        leave_out_of_ddp_(module, tables)
        handler = self.accelerator.ddp_handler
        if is_partly_used:
            from accelerate import DistributedDataParallelKwargs

            self.accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=True)
        try:
            wrapped = self.accelerator.prepare_model(module)
        finally:
            self.accelerator.ddp_handler = handler
        return wrapped

    @property
    def can_compute_apart(self) -> bool:
        """Whether a process can go through its batches without waiting for others; with FSDP each needs all."""
        return self.world_size > 1 and self.parallel == "ddp"

    @contextmanager
    def computing(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Forward and backward in the run's precision; gradients travel between processes in the last batch only."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            if last:
                yield
            elif hasattr(module, "set_requires_gradient_sync"):
                module.set_requires_gradient_sync(False)
                try:
                    yield
                finally:
                    module.set_requires_gradient_sync(True)
            elif hasattr(module, "no_sync"):
                with module.no_sync():
                    yield
            else:
                yield

    def settle(self, module: nn.Module) -> None:
        """Cut parameters into pieces again that FSDP left whole after a forward pass without a backward one."""
        for part in module.modules():
            if hasattr(part, "set_requires_gradient_sync"):
                part.reshard()

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes."""
        if self.world_size == 1:
            return list(values)
        kind = torch.float64 if self.device.type in ("cpu", "cuda") else torch.float32
        summed = torch.tensor(list(values), dtype=kind, device=self.device)
        torch.distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def stack(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, of one shape, stacked on the CPU."""
        if self.world_size == 1:
            return tensor.cpu().unsqueeze(0)
        gathered: Tensor = self.accelerator.gather(tensor.to(self.device).unsqueeze(0))
        return gathered.cpu()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            self.accelerator.wait_for_everyone()

    def _alike(self, module: nn.Module) -> None:
        """Give every process the first one's weights: a fresh head is random."""
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                torch.distributed.broadcast(tensor.data, src=0)

    def _mesh(self) -> Any:
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self.device.type, (self.world_size,))


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from its pieces, where it is cut; all processes have to ask at once."""
    gathered: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered


def put(target: Tensor, source: Tensor) -> None:
    """Copy a whole tensor into one that may be cut into pieces."""
    with torch.no_grad():
        if hasattr(target, "device_mesh"):
            from torch.distributed.tensor import distribute_tensor

            placed = distribute_tensor(source.to(target.device), target.device_mesh, target.placements)
            target.copy_(placed)
        else:
            target.copy_(source)
