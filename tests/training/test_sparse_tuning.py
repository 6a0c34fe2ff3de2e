from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.sparse_tuning import (
    DECAY,
    L1,
    SparseTuning,
    bool_masks,
    l1_term,
    masked_groups,
    select,
)
from polycompress.training.step import StepResult, train_step
from tests.training.tiny_task import TinyTask, make_loader, make_task

DENSE = ("output.weight", "output.bias")
"""Trained whole, as a head is."""


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    loader = make_loader(tmp_path_factory.mktemp("data"))
    found = [loader.next() for _ in range(6)]
    return [batch for batch in found if batch is not None]


def make_sparse(
    density: float = 0.3, decay: float = 0.1, seed: int = 0, **options: Any
) -> tuple[TinyTask, SplitAdamW, dict[nn.Parameter, Tensor]]:
    """The tiny task, its optimiser restricted to random weights of table and norm."""
    task, _ = make_task()
    parameters = dict(task.module.named_parameters())
    with torch.no_grad():
        parameters["table.weight"][5, :3] = -0.0  # whose sign must stay, too
    generator = np.random.default_rng(seed)
    chosen = {
        name: np.sort(generator.permutation(each.numel())[: int(density * each.numel())])
        for name, each in parameters.items()
        if name not in DENSE
    }
    chosen["table.weight"] = chosen["table.weight"][
        ~np.isin(chosen["table.weight"] // 8, (5, 6))
    ]  # whole rows out
    masks = bool_masks(parameters, chosen)
    optimiser = SplitAdamW(masked_groups(param_groups(task.module, decay), masks), lr=0.01, **options)
    optimiser.restriction = SparseTuning(masks=masks)
    return task, optimiser, masks


def step(
    task: TinyTask, optimiser: SplitAdamW, batches: list[Batch], number: int = 1, norm: float = 1.0
) -> StepResult:
    return train_step(
        task, optimiser, Devices(device="cpu"), batches, step=number, learning_rate=0.01, max_grad_norm=norm
    )


def copies(task: TinyTask) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in task.module.named_parameters()}


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)


def moments(optimiser: SplitAdamW, parameter: nn.Parameter) -> list[Tensor]:
    if parameter in optimiser._states:
        state = optimiser._states[parameter]
        return [state.first, *([state.second] if state.second.ndim == 2 else [])]
    return [optimiser.state[parameter][name] for name in ("exp_avg", "exp_avg_sq")]


@pytest.mark.parametrize("second", ["element", "row"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_only_the_chosen_weights_move_and_moments_of_the_others_stay_zero(
    batches: list[Batch], decay: float, second: str
) -> None:
    task, optimiser, masks = make_sparse(decay=decay, second_moment=second)
    before = copies(task)
    for number in range(1, 11):
        step(task, optimiser, batches[:2], number)
    after = {name: each.detach() for name, each in optimiser.exported_state(task.module).items()}
    for name, parameter in task.module.named_parameters():
        moved = bits(after[name]) != bits(before[name])
        if name in DENSE:
            assert moved.all()
            continue
        mask = masks[parameter]
        assert not moved[~mask].any(), name
        for moment in moments(optimiser, parameter):
            assert (moment[~mask] == 0).all(), name
        touched = moments(optimiser, parameter)[0] != 0
        assert touched.any() and moved[touched].all()
    assert (bits(after["table.weight"][5, :3]) == bits(torch.tensor(-0.0))).all()
    table = task.module.table.weight
    read = torch.unique(torch.cat([batch.input_ids.flatten() for batch in batches[:2]]))
    assert {5, 6} & set(read.tolist()), "a row without a free weight is read"
    assert (optimiser._states[table].touches[[5, 6]] == 0).all(), "and not stepped"


def test_a_gradient_that_is_masked_has_no_part_in_the_norm(batches: list[Batch]) -> None:
    free, unbound = make_task()
    whole = step(free, unbound, batches[:1]).gradient_norm
    task, optimiser, masks = make_sparse(density=0.1)
    loss = task.module(**task.prepare(batches[0]).inputs)
    loss.backward()
    squares = 0.0
    for parameter in task.module.parameters():
        gradient = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
        squares += float(
            gradient[masks[parameter]].square().sum() if parameter in masks else gradient.square().sum()
        )
    optimiser.zero_grad()
    found = step(task, optimiser, batches[:1]).gradient_norm
    assert found == pytest.approx(squares**0.5, rel=1e-5)
    assert found < 0.999 * whole


def test_what_is_free_is_trained_as_if_there_were_no_mask(batches: list[Batch]) -> None:
    """A mask of everything changes nothing but how the decay of the table is reckoned."""
    free, unbound = make_task()
    task, _ = make_task()
    parameters = dict(task.module.named_parameters())
    masks = bool_masks(parameters, {name: np.arange(each.numel()) for name, each in parameters.items()})
    optimiser = SplitAdamW(masked_groups(param_groups(task.module, 0.1), masks), lr=0.01)
    optimiser.restriction = SparseTuning(masks=masks)
    for number in range(1, 8):
        one, other = step(free, unbound, batches[:2], number), step(task, optimiser, batches[:2], number)
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)
    wanted, found = unbound.exported_state(free.module), optimiser.exported_state(task.module)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-6)


def test_decay_moves_the_free_weights(batches: list[Batch]) -> None:
    without, some = make_sparse(decay=0.0), make_sparse(decay=0.5)
    for task, optimiser, _ in (without, some):
        step(task, optimiser, batches[:1])
    masks = some[2]
    for one, other in zip(without[0].module.parameters(), some[0].module.parameters(), strict=True):
        differ = bits(one.detach()) != bits(other.detach())
        if one.ndim > 1 and other in masks:
            assert differ[masks[other]].any() and not differ[~masks[other]].any()


def test_groups_keep_what_they_had() -> None:
    task, _ = make_task()
    parameters = dict(task.module.named_parameters())
    masks = bool_masks(parameters, {"norm.weight": np.array([1]), "output.weight": np.zeros(0, np.int64)})
    groups = masked_groups(param_groups(task.module, 0.3), masks)
    known = {id(p): group for group in groups for p in group["params"]}
    assert len(known) == sum(len(group["params"]) for group in groups) == len(parameters)
    output, norm, table = (
        known[id(parameters[name])] for name in ("output.weight", "norm.weight", "table.weight")
    )
    assert (output["weight_decay"], output[DECAY], output["rows"]) == (0.0, 0.3, False)
    assert (norm["weight_decay"], norm[DECAY]) == (0.0, 0.0)
    assert (table["weight_decay"], table["rows"], DECAY in table) == (0.3, True, False)


def test_saved_and_loaded_it_goes_on_bit_for_bit(batches: list[Batch]) -> None:
    task, optimiser, _ = make_sparse()
    for number in (1, 2, 3):
        step(task, optimiser, batches[:2], number)
    again, other, _ = make_sparse()
    again.module.load_state_dict(task.module.state_dict())
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for number in (4, 5, 6):
        for each, its in ((task, optimiser), (again, other)):
            step(each, its, batches[2:4], number)
    for one, two in zip(copies(task).values(), copies(again).values(), strict=True):
        assert torch.equal(bits(one), bits(two))


def test_select_takes_what_moved_furthest() -> None:
    torch.manual_seed(0)
    before = {"a": torch.randn(4, 5), "b": torch.randn(6).bfloat16()}
    after = {"a": before["a"].clone(), "b": before["b"].clone(), "head": torch.ones(3)}
    after["a"][1, 2] += 3
    after["a"][3, 4] -= 5
    after["b"][2] += 4
    found = select(before, after, 3)
    assert {name: places.tolist() for name, places in found.items()} == {"a": [7, 19], "b": [2]}


def test_masks_that_do_not_fit() -> None:
    parameters = dict(nn.Linear(2, 3).named_parameters())
    with pytest.raises(InputError, match="The mask names other, which the model does not have"):
        bool_masks(parameters, {"other": np.zeros(1, np.int64)})
    for place in (-1, 6):
        with pytest.raises(InputError, match="The mask of weight lies outside of its 6 weights"):
            bool_masks(parameters, {"weight": np.array([place])})
    with pytest.raises(InputError, match=r"a mask is \(6,\) torch.bool, its parameter \(3, 2\)"):
        SparseTuning(masks={parameters["weight"]: torch.ones(6, dtype=torch.bool)})


def test_the_l1_term() -> None:
    now, then = torch.tensor([1.0, -2.0, 3.0], requires_grad=True), torch.tensor([1.0, 0.0, 1.0])
    more = torch.tensor([[5.0]], requires_grad=True)
    term = l1_term([now, more], [then, torch.zeros(1, 1)], 0.1, 90)
    assert term.item() == pytest.approx(0.1 / 90 * (2 + 2 + 5))
    term.backward()
    assert now.grad.tolist() == pytest.approx([0, -0.1 / 90, 0.1 / 90])
    assert float(l1_term([], [], 0.1, 90)) == 0


def test_the_l1_gradient_is_that_of_the_term_once_for_a_step(batches: list[Batch]) -> None:
    free, optimiser = make_task()
    originals = {
        each: torch.randn(each.shape, generator=torch.Generator().manual_seed(1))
        for each in free.module.parameters()
    }
    total = sum(each.numel() for each in free.module.parameters())
    optimiser.restriction = SparseTuning(l1=L1(strength=50.0, total=total, originals=originals))
    for batch in batches[:2]:
        (free.module(**free.prepare(batch).inputs) / 2).backward()
    plain = {each: each.grad.to_dense() if each.grad.is_sparse else each.grad.clone() for each in originals}
    optimiser.restrict_gradients_()
    with_term = {each: each.grad.to_dense() if each.grad.is_sparse else each.grad for each in originals}
    leaves = [each.detach().clone().requires_grad_() for each in originals]
    l1_term(leaves, list(originals.values()), 50.0, total).backward()
    read = torch.unique(torch.cat([batch.input_ids.flatten() for batch in batches[:2]]))
    for leaf, each in zip(leaves, originals, strict=True):
        drawn = leaf.grad
        if each is free.module.table.weight:
            drawn = torch.zeros_like(leaf).index_copy(0, read, leaf.grad[read])
        torch.testing.assert_close(with_term[each], plain[each] + drawn)


def test_l1_draws_the_free_weights_back(batches: list[Batch]) -> None:
    moved = []
    for strength in (0.0, 100.0):
        task, optimiser, masks = make_sparse()
        originals = {each: each.detach().clone() for each in masks}
        optimiser.restriction = SparseTuning(
            masks=masks, l1=L1(strength=strength, total=1000, originals=originals)
        )
        for number in range(1, 31):
            step(task, optimiser, batches[:2], number)
        gaps = {each: (each.detach() - originals[each]).abs() for each in masks}
        assert all((gap[~masks[each]] == 0).all() for each, gap in gaps.items())
        moved.append(sum(float(gap.sum()) for gap in gaps.values()))
    assert moved[1] < 0.8 * moved[0]


def test_measuring_on_the_way_needs_no_restriction(batches: list[Batch], tmp_path: Path) -> None:
    task, optimiser = make_task()
    optimiser.restrict_gradients_()
    assert optimiser.restriction is None
    assert all(parameter.grad is None for parameter in task.module.parameters())
