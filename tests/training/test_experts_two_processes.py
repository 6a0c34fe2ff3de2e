"""Two processes over gloo train experts as one process does on the joined batch, though each leaves some unused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from polycompress.distill.outputs import Given, Outputs
from polycompress.moe.config import MoeConfig
from polycompress.moe.context import RoutingContext
from polycompress.moe.layer import MoeBlock
from polycompress.training.optimisers import SplitAdamW, clip_gradients, param_groups
from polycompress.training.routing import IdleExperts, RouterSupervision

WIDTH, INNER, LENGTH, STEPS, WORLD = 6, 8, 5, 6, 2
CONFIG = MoeConfig(
    layers=(0,),
    experts=4,
    top_k=1,
    families={"A": (0,), "B": (1,), "C": (2,), "D": (3,)},
    languages={"deu-Latn": "A", "fra-Latn": "B", "swh-Latn": "C", "tur-Latn": "D"},
)


class Processes:
    """What companions ask of a run's devices, over the group that there is, if there is one."""

    is_main = True

    def total(self, values: Sequence[float]) -> list[float]:
        summed = torch.tensor(values, dtype=torch.float64)
        if distributed.is_initialized():
            distributed.all_reduce(summed)
        return summed.tolist()


class Student(nn.Module):  # type: ignore[misc]
    """One layer of experts, which the language decides on, as a model of transformers has it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.block = MoeBlock(CONFIG, 0, WIDTH, INNER, gated=False, bias=True, activation=functional.gelu)
        self.block.reset_parameters(0.4)
        self.moe_context = RoutingContext(CONFIG)
        self.register_forward_pre_hook(self.moe_context.enter, with_kwargs=True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, language_ids: Tensor) -> Tensor:
        self.block.routing = self.moe_context.current
        return self.block(input_ids)


class Learning(nn.Module):  # type: ignore[misc]
    """A target, and the router told the family."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.student = Student(seed)
        self.supervision = RouterSupervision(self.student.moe_context)

    def forward(self, hidden: Tensor, languages: Tensor) -> Tensor:
        mask = torch.ones(hidden.shape[:2])
        made = self.student(input_ids=hidden, attention_mask=mask, language_ids=languages)
        told = self.supervision(Outputs(), Outputs(), Given(mask=mask != 0))
        return (made - hidden.flip(-1)).square().mean() + 0.1 * told


def shares(step: int) -> list[tuple[Tensor, Tensor]]:
    """What each rank gets: texts of one language each, and of the fourth language none at all."""
    generator = torch.Generator().manual_seed(step)
    hidden = torch.randn(2, 3, LENGTH, WIDTH, generator=generator)
    return [(hidden[rank], torch.full((3,), (step + rank) % 3)) for rank in range(WORLD)]


def train(model: nn.Module, bare: Learning, rank: int | None) -> dict[str, Tensor]:
    """The weights at the end; the loss of one process is the mean over both halves."""
    optimiser = SplitAdamW(param_groups(bare, 0.1), lr=3e-2)
    idle = IdleExperts(bare.student, bare.student.moe_context, Processes(), steps=STEPS)
    for step in range(STEPS):
        idle.before_step(step)
        parts = shares(step) if rank is None else shares(step)[rank : rank + 1]
        for hidden, languages in parts:
            (model(hidden, languages) / len(parts)).backward()
        check_gradients(bare.student.block, step)
        clip_gradients(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        idle.after_step(step + 1)
    assert idle.state_dict()["reached"] == {
        "expert 0 (A) of layer 0": STEPS,
        "expert 1 (B) of layer 0": STEPS - 1,
        "expert 2 (C) of layer 0": STEPS,
        "expert 3 (D) of layer 0": 0,
    }
    assert idle.state_dict()["named"] == ["expert 3 (D) of layer 0"]
    return {name: tensor.detach().clone() for name, tensor in bare.state_dict().items()}


def check_gradients(block: MoeBlock, step: int) -> None:
    """Every parameter has one; of experts that no process reached it is 0."""
    reached = {(step + rank) % 3 for rank in range(WORLD)}
    for name, parameter in block.experts.named_parameters():
        assert parameter.grad is not None, name
        largest = parameter.grad.reshape(CONFIG.experts, -1).abs().amax(dim=1)
        assert {number for number, size in enumerate(largest.tolist()) if size > 0} == reached, (name, step)


def run(rank: int, meeting: str, out: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD, timeout=timedelta(seconds=240)
    )
    bare = Learning(seed=rank)  # unlike starts: rank 0's must win
    torch.save(train(DistributedDataParallel(bare), bare, rank), f"{out}/{rank}.pt")
    distributed.barrier()  # gloo's threads may abort where the other side is torn down while they still talk to it
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """The weights of both processes."""
    path = tmp_path_factory.mktemp("experts")
    multiprocessing.spawn(run, args=(str(path / "meeting"), str(path)), nprocs=WORLD, join=True)
    return [torch.load(path / f"{rank}.pt") for rank in range(WORLD)]


def test_two_processes_end_with_one_process_weights(results: list[dict[str, Tensor]]) -> None:
    first, second = results
    bare = Learning(seed=0)
    start = {name: tensor.clone() for name, tensor in bare.state_dict().items()}
    wanted = train(bare, bare, None)
    for name in wanted:
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], wanted[name], rtol=1e-4, atol=1e-6)
    up = "student.block.experts.up"
    moved = (wanted[up] - start[up]).abs().flatten(1).amax(dim=1)
    assert (moved[:3] > 0.02).all()  # they did learn
    torch.testing.assert_close(wanted[up][3], start[up][3] * (1 - 3e-2 * 0.1) ** STEPS)  # decay alone
