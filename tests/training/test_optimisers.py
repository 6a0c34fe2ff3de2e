from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.training.optimisers import SplitAdamW, clip_gradients, param_groups
from polycompress.training.rows import find_tables, gather_gradients_, gather_rows

ROWS, WIDTH = 40, 6


class Tiny(nn.Module):
    """An embedding, a norm and a linear layer."""

    def __init__(self, sparse: bool = True, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.words = nn.Embedding(ROWS, WIDTH, padding_idx=0)
        if sparse:
            self.words = SparseEmbedding.sharing(self.words)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.words(ids))).square().mean()


def batch(seed: int, rows: int = ROWS) -> Tensor:
    return torch.randint(0, rows, (4, 5), generator=torch.Generator().manual_seed(seed))


def make(model: nn.Module, **settings) -> SplitAdamW:  # noqa: ANN003
    return SplitAdamW(param_groups(model, 0.1), **{"lr": 1e-2, "weight_decay": 0.1, **settings})


def train(model: nn.Module, optimiser: SplitAdamW, steps: range, max_norm: float = 0.05) -> list[float]:
    losses = []
    for step in steps:
        ids = batch(step)
        optimiser.before_forward(ids)
        loss = model(ids)
        loss.backward()
        clip_gradients(model.parameters(), max_norm)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor], **tolerance: float) -> None:
    assert list(first) == list(second)
    for name in first:
        torch.testing.assert_close(
            first[name], second[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


def test_groups_follow_the_convention() -> None:
    model = Tiny()
    model.head.weight.requires_grad_(False)
    model.extra = nn.Linear(2, 2)
    decayed, plain, tables = param_groups(model, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(model.extra.weight)]
    assert {id(p) for p in plain["params"]} == {
        id(p) for p in (model.norm.weight, model.norm.bias, model.head.bias, model.extra.bias)
    }
    assert [id(p) for p in tables["params"]] == [id(model.words.weight)]
    assert [group["weight_decay"] for group in (decayed, plain, tables)] == [0.1, 0.0, 0.1]
    assert [group["rows"] for group in (decayed, plain, tables)] == [False, False, True]


def test_groups_without_tables_or_with_tied_ones() -> None:
    model = Tiny(sparse=False)
    assert [group["rows"] for group in param_groups(model, 0.1)] == [False, False]
    tied = Tiny()
    tied.again = SparseEmbedding.sharing(tied.words)
    assert len(find_tables(tied)) == 1
    tied.words.weight.requires_grad_(False)
    assert find_tables(tied) == ()


def test_agrees_with_adamw_when_every_row_is_touched() -> None:
    """Dense and sparse parts at once, clipping included, against torch's AdamW in float64."""
    sparse, dense = Tiny().double(), Tiny(sparse=False).double()
    sparse.words.padding_idx = dense.words.padding_idx = None
    ours = make(sparse)
    theirs = torch.optim.AdamW(param_groups(dense, 0.1), lr=1e-2)
    ids = torch.arange(ROWS).repeat(2).view(4, -1)
    for step in range(20):
        rate = 1e-2 / (1 + step)
        for optimiser in (ours, theirs):
            for group in optimiser.param_groups:
                group["lr"] = rate
        ours.before_forward(ids)
        for model, optimiser in ((sparse, ours), (dense, theirs)):
            model(ids).backward()
            if optimiser is ours:
                norm = clip_gradients(model.parameters(), 0.05)
            else:
                wanted = nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            optimiser.step()
            optimiser.zero_grad()
        torch.testing.assert_close(norm, wanted, rtol=1e-12, atol=0)
    assert_same(ours.exported_state(sparse), dense.state_dict(), rtol=1e-11, atol=1e-12)


def test_clipping_counts_each_row_once() -> None:
    model, dense = Tiny(), Tiny(sparse=False)
    for seed in range(3):  # micro-batches leave a gradient with rows that come several times
        for each in (model, dense):
            each(batch(seed, rows=7)).backward()
    norm = clip_gradients(model.parameters(), 0.01)
    wanted = nn.utils.clip_grad_norm_(dense.parameters(), 0.01)
    torch.testing.assert_close(norm, wanted)
    for ours, theirs in zip(model.parameters(), dense.parameters(), strict=True):
        found = ours.grad.to_dense() if ours.grad.is_sparse else ours.grad
        torch.testing.assert_close(found, theirs.grad, rtol=1e-5, atol=1e-8)
    before = [parameter.grad.clone() for parameter in dense.parameters()]
    clip_gradients(dense.parameters(), float("inf"))
    assert all(torch.equal(p.grad, old) for p, old in zip(dense.parameters(), before, strict=True))


def test_clipping_nothing() -> None:
    assert clip_gradients(Tiny().parameters(), 1.0) == 0
    with pytest.raises(InputError, match="max_norm must be above 0, got 0"):
        clip_gradients([], 0.0)


def test_step_costs_what_is_touched_and_decay_catches_up() -> None:
    model = Tiny()
    optimiser = make(model, lr=0.1)
    before = model.words.weight.detach().clone()
    ids = torch.tensor([[3, 5]])
    for _ in range(10):
        optimiser.before_forward(ids)
        model(ids).backward()
        optimiser.step()
        optimiser.zero_grad()
    others = [row for row in range(ROWS) if row not in (3, 5)]
    assert torch.equal(model.words.weight[others], before[others])
    exported = optimiser.exported_state(model)
    torch.testing.assert_close(exported["words.weight"][others], before[others] * 0.99**10)
    assert exported["head.weight"].data_ptr() == model.head.weight.data_ptr()
    assert torch.equal(model.words.weight[others], before[others])
    optimiser.before_forward(torch.tensor([7, 7, 9]))
    torch.testing.assert_close(model.words.weight[[7, 9]], before[[7, 9]] * 0.99**10)
    assert torch.equal(model.words.weight[8], before[8])
    with pytest.raises(InputError, match="row 40 is outside the table"):
        optimiser.before_forward(torch.tensor([ROWS]))


def test_no_gradient_no_decay() -> None:
    model = Tiny()
    optimiser = make(model)
    model.head(torch.ones(2, WIDTH)).sum().backward()
    optimiser.step()
    assert torch.equal(optimiser.exported_state(model)["words.weight"], Tiny().words.weight)


def test_padding_row_stays() -> None:
    model = Tiny()
    optimiser = make(model, weight_decay=0.0)
    for group in optimiser.param_groups:
        group["weight_decay"] = 0.0
    train(model, optimiser, range(5))
    assert torch.equal(model.words.weight[0], torch.zeros(WIDTH))


@pytest.mark.parametrize("second", ["element", "row"])
@pytest.mark.parametrize("with_tables", [True, False])
def test_saved_and_loaded_it_goes_on_bit_for_bit(second: str, with_tables: bool) -> None:
    def fresh() -> tuple[nn.Module, SplitAdamW, torch.optim.lr_scheduler.LRScheduler]:
        model = Tiny(sparse=with_tables)
        optimiser = make(model, second_moment=second)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
        return model, optimiser, schedule

    def go(model: nn.Module, optimiser: SplitAdamW, schedule, steps: range) -> list[float]:  # noqa: ANN001
        losses = []
        for step in steps:
            losses += train(model, optimiser, range(step, step + 1))
            schedule.step()
        return losses

    model, optimiser, schedule = fresh()
    go(model, optimiser, schedule, range(5))
    file = io.BytesIO()
    torch.save([model.state_dict(), optimiser.state_dict(), schedule.state_dict()], file)
    unbroken = go(model, optimiser, schedule, range(5, 9))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, other, plan = fresh()
    again.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    plan.load_state_dict(saved[2])
    assert go(again, other, plan, range(5, 9)) == unbroken
    assert_same(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert_same(other.exported_state(again), optimiser.exported_state(model), rtol=0, atol=0)


def test_schedules_reach_both_parts() -> None:
    model = Tiny()
    optimiser = make(model, lr=1.0)
    optimiser.load_state_dict(optimiser.state_dict())
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    train(model, optimiser, range(3))
    assert_same(model.state_dict(), before, rtol=0, atol=0)


def test_loading_leaves_the_saved_state_alone() -> None:
    model = Tiny()
    optimiser = make(model)
    train(model, optimiser, range(3))
    saved = optimiser.state_dict()
    rows = saved["tables"][0]["state"]["rows"]
    assert 0 < len(rows) < ROWS
    first = saved["tables"][0]["state"]["first"].clone()
    other_model = Tiny()
    other = make(other_model)
    other.load_state_dict(saved)
    train(other_model, other, range(3))
    assert torch.equal(saved["tables"][0]["state"]["first"], first)


def test_a_changed_device() -> None:
    """State follows the parameters: to a device where only shapes are kept, and, where there is one, to a GPU."""
    model = Tiny()
    optimiser = make(model)
    train(model, optimiser, range(3))
    saved = optimiser.state_dict()
    on_meta = make(Tiny().to("meta"))
    on_meta.load_state_dict(saved)
    moments = [state["exp_avg"] for state in on_meta.state.values()]
    assert moments and {moment.device.type for moment in moments} == {"meta"}
    assert {state.first.device.type for state in on_meta._states.values()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_from_the_cpu_to_a_gpu_and_on() -> None:
    model = Tiny()
    optimiser = make(model)
    train(model, optimiser, range(3))
    moved = Tiny().cuda()
    moved.load_state_dict(model.state_dict())
    other = make(moved)
    other.load_state_dict(optimiser.state_dict())
    for step in range(3, 6):
        ids = batch(step).cuda()
        other.before_forward(ids)
        moved(ids).backward()
        clip_gradients(moved.parameters(), 0.05)
        other.step()
        other.zero_grad()
    train(model, optimiser, range(3, 6))
    assert_same(
        {name: tensor.cpu() for name, tensor in moved.state_dict().items()},
        model.state_dict(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_tied_names_share_one_exported_copy() -> None:
    model = Tiny()
    model.again = SparseEmbedding.sharing(model.words)
    optimiser = make(model)
    train(model, optimiser, range(3))
    exported = optimiser.exported_state(model)
    assert exported["words.weight"].data_ptr() == exported["again.weight"].data_ptr()
    assert exported["words.weight"].data_ptr() != model.words.weight.data_ptr()


def test_second_moment_by_row_halves_the_state() -> None:
    model = Tiny()
    optimiser = make(model, second_moment="row")
    losses = train(model, optimiser, range(30))
    assert optimiser._states[model.words.weight].second.shape == (ROWS,)
    assert losses[-1] < losses[0]


def test_state_of_another_model_is_refused() -> None:
    model = Tiny()
    optimiser = make(model)
    train(model, optimiser, range(2))
    saved = optimiser.state_dict()
    with pytest.raises(InputError, match=r"has 3 groups with 4 dense parameters, the optimiser has 2 with 5"):
        make(Tiny(sparse=False)).load_state_dict(saved)
    wider = Tiny()
    wider.head = nn.Linear(WIDTH, 4)
    with pytest.raises(
        InputError,
        match=r"moment of shape \(3, 6\) for parameter 0, which is \(4, 6\): it is of another model",
    ):
        make(wider).load_state_dict(saved)
    longer = Tiny()
    longer.words = SparseEmbedding(ROWS + 1, WIDTH)
    with pytest.raises(InputError, match=r"is of tables \[\(40, 6\)\], the model has \[\(41, 6\)\]"):
        make(longer).load_state_dict(saved)


def test_a_dense_gradient_of_a_table_is_refused() -> None:
    model = Tiny()
    optimiser = make(model)
    (model(batch(0)) + (model.words.weight @ torch.ones(WIDTH)).sum()).backward()
    with pytest.raises(InputError, match=r"gradient of the \(40, 6\) table is dense.*sampled_softmax"):
        optimiser.step()


def test_a_table_must_be_a_matrix() -> None:
    with pytest.raises(InputError, match=r"a table of rows must be \(V, d\), got \(3,\)"):
        SplitAdamW([{"params": [nn.Parameter(torch.zeros(3))], "rows": True}], lr=0.1)


def test_closure() -> None:
    model = Tiny()
    optimiser = make(model)

    def closure() -> Tensor:
        loss = model(batch(0))
        loss.backward()
        return loss

    loss = optimiser.step(closure)
    assert loss.item() > model(batch(0)).item()


def test_one_process_has_nothing_to_gather() -> None:
    model = Tiny()
    for seed in range(2):
        model(batch(seed, rows=5)).backward()
    dense = model.words.weight.grad.to_dense()
    gathered = gather_rows(model.words.weight.grad)
    assert gathered.is_coalesced()
    torch.testing.assert_close(gathered.to_dense(), dense)
    gradient = model.words.weight.grad
    gather_gradients_(find_tables(model))
    assert model.words.weight.grad is gradient


def test_transformers_model_becomes_sparse() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=ROWS, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertModel(config)
    keys = list(model.state_dict())
    module = SparseEmbedding.sharing(model.get_input_embeddings())
    model.set_input_embeddings(module)
    assert list(model.state_dict()) == keys
    optimiser = make(model)
    assert len(optimiser.tables) == 1
    ids = batch(0)
    model(ids).last_hidden_state.square().sum().backward()
    assert module.weight.grad.is_sparse
    optimiser.step()
