"""Two processes over gloo end with the weights of one process on the joined batch."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.training.optimisers import SplitAdamW, clip_gradients, param_groups
from polycompress.training.rows import find_tables, gather_gradients_, gather_rows, leave_out_of_ddp_

ROWS, WIDTH, STEPS, WORLD = 60, 8, 8, 2


class Tiny(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.words = SparseEmbedding(ROWS, WIDTH, padding_idx=0)
        self.inner = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh())
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.inner(self.words(ids))).square().mean()


def shares(step: int) -> list[Tensor]:
    """Each rank's ids: of the same number, overlapping, differently spread (at times a rank has only padding)."""
    generator = torch.Generator().manual_seed(step)
    first = torch.randint(0, ROWS, (4, 6), generator=generator)
    second = torch.randint(0, 1 + 7 * (step % 3), (4, 6), generator=generator)
    return [first, second]


def train(model: nn.Module, optimiser: SplitAdamW, rank: int | None, accumulation: int = 1) -> None:
    bare = model.module if isinstance(model, DistributedDataParallel) else model
    for step in range(STEPS):
        ids = torch.cat(shares(step)) if rank is None else shares(step)[rank]
        optimiser.before_forward(ids)
        for part in ids.chunk(accumulation):
            (model(part) / accumulation).backward()
        gather_gradients_(find_tables(bare))
        clip_gradients(model.parameters(), 0.05)
        optimiser.step()
        optimiser.zero_grad()


def make(model: nn.Module) -> SplitAdamW:
    return SplitAdamW(param_groups(model, 0.2), lr=2e-2, eps=1e-4)


def run(rank: int, meeting: str, out: str) -> None:
    """Everything that two processes do, in one start of them."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD, timeout=timedelta(seconds=120)
    )
    run_gather(rank, out)
    run_ddp(rank, out)
    run_fsdp(rank, out)
    distributed.barrier()  # gloo's threads may abort where the other side is torn down while they still talk to it
    distributed.destroy_process_group()


def run_ddp(rank: int, out: str) -> None:
    for accumulation in (1, 2):
        bare = Tiny(seed=rank)  # unlike starts: rank 0's must win, in the table too
        leave_out_of_ddp_(bare, find_tables(bare))
        optimiser = make(bare)
        train(DistributedDataParallel(bare), optimiser, rank, accumulation)
        torch.save(
            {"raw": bare.state_dict(), "exported": optimiser.exported_state(bare)},
            f"{out}/ddp-{accumulation}-{rank}.pt",
        )


def run_fsdp(rank: int, out: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = Tiny(seed=0)
    mesh = init_device_mesh("cpu", (WORLD,))
    fully_shard(model, mesh=mesh, ignored_params=set(find_tables(model)))
    optimiser = make(model)
    train(model, optimiser, rank)
    exported = {
        name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, tensor in optimiser.exported_state(model).items()
    }
    torch.save({"exported": exported}, f"{out}/fsdp-{rank}.pt")


def run_gather(rank: int, out: str) -> None:
    table = nn.Parameter(torch.zeros(5, 2))
    gather_gradients_([table])  # nobody has a gradient
    assert table.grad is None
    if rank == 1:
        table.grad = torch.sparse_coo_tensor([[3, 1, 3]], torch.ones(3, 2), (5, 2), check_invariants=False)
    gather_gradients_([table])
    assert table.grad.to_dense()[:, 0].tolist() == [0, 0.5, 0, 1, 0]
    torch.manual_seed(rank)
    mine = torch.randn(200, 2).double()
    ids = torch.randint(0, 50, (1, 200))
    sent = torch.sparse_coo_tensor(ids, mine, (50, 2), check_invariants=False)
    torch.save([sent.coalesce(), gather_rows(sent)], f"{out}/gather-{rank}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    path = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(run, args=(str(path / "meeting"), str(path)), nprocs=WORLD, join=True)
    return path


def one_process(accumulation: int) -> dict[str, Tensor]:
    model = Tiny(seed=0)
    optimiser = make(model)
    train(model, optimiser, None, accumulation)
    return optimiser.exported_state(model)


def compare(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(
            found[name], wanted[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )
    start = Tiny(seed=0).state_dict()
    assert any((wanted[name] - start[name]).abs().max() > 0.02 for name in wanted)  # it did move


@pytest.mark.parametrize("accumulation", [1, 2])
def test_ddp_ends_with_one_process_weights(results: Path, accumulation: int) -> None:
    first, second = (torch.load(results / f"ddp-{accumulation}-{rank}.pt") for rank in range(WORLD))
    compare(first["exported"], one_process(accumulation))
    # Replicas agree bit for bit, but for the padding row, which is read and never updated.
    first["raw"]["words.weight"][0] = second["raw"]["words.weight"][0] = 0
    for name, tensor in first["raw"].items():
        assert torch.equal(tensor, second["raw"][name])


def test_fsdp_ends_with_one_process_weights(results: Path) -> None:
    wanted = one_process(1)
    for rank in range(WORLD):
        compare(torch.load(results / f"fsdp-{rank}.pt")["exported"], wanted)


def test_gathered_rows_are_the_mean(results: Path) -> None:
    (first, gathered), (second, same) = (torch.load(results / f"gather-{rank}.pt") for rank in range(WORLD))
    assert torch.equal(gathered.to_dense(), same.to_dense())
    torch.testing.assert_close(gathered.to_dense(), (first.to_dense() + second.to_dense()) / 2)
    assert gathered.is_coalesced()
