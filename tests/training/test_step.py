from __future__ import annotations

import gc
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.errors import OutOfMemoryError
from polycompress.training.memory import is_out_of_memory, memory_mib, peak_memory_mib
from polycompress.training.step import BadBatches, StepResult, no_gradient, train_step
from tests.training.tiny_task import TinyTask, make_loader, make_task


@pytest.fixture(scope="module")
def devices() -> Devices:
    return Devices(device="cpu")


@pytest.fixture
def batches(tmp_path: Path) -> list[Batch]:
    loader = make_loader(tmp_path / "data")
    found = []
    for _ in range(4):
        batch = loader.next()
        assert batch is not None
        found.append(batch)
    return found


def step(
    task: TinyTask,
    optimiser: Any,
    devices: Devices,
    batches: Sequence[Batch],
    number: int = 1,
    **options: Any,
) -> StepResult:
    return train_step(
        task,
        optimiser,
        devices,
        batches,
        **{"step": number, "learning_rate": 0.01, "max_grad_norm": 1.0, **options},
    )


def parameters(task: TinyTask) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in task.module.parameters()]


def test_several_batches_are_one_large_one(batches: list[Batch], devices: Devices) -> None:
    one, optimiser = make_task()
    first = step(one, optimiser, devices, batches[:2])
    halves, other = make_task()
    split = [half for batch in batches[:2] for half in batch.split()]
    assert len({batch.labelled for batch in split}) > 1, "means over different numbers of labels"
    second = step(halves, other, devices, split)
    assert second.loss == pytest.approx(first.loss, rel=1e-6)
    assert second.gradient_norm == pytest.approx(first.gradient_norm, rel=1e-5)
    assert second.tokens == first.tokens == sum(batch.tokens for batch in batches[:2])
    for a, b in zip(parameters(one), parameters(halves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_loss_falls(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    losses = [step(task, optimiser, devices, batches, number).loss for number in range(1, 40)]
    assert losses[0] == pytest.approx(math.log(60), rel=0.2)
    assert losses[-1] < 0.7 * losses[0]


def test_the_learning_rate_is_that_of_the_step(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    before = parameters(task)
    step(task, optimiser, devices, batches, learning_rate=0.0)
    for a, b in zip(before, parameters(task), strict=True):
        assert torch.equal(a, b)


def test_gradients_are_scaled_down_to_the_limit(batches: list[Batch], devices: Devices) -> None:
    norms = []
    for limit in (0.0, 1e-3):
        task, optimiser = make_task()
        seen: list[float] = []
        original = optimiser.step

        def measuring(task: TinyTask = task, seen: list[float] = seen, original: Any = original) -> None:
            squares = [
                float((p.grad.coalesce().values() if p.grad.is_sparse else p.grad).square().sum())
                for p in task.module.parameters()
            ]
            seen.append(math.sqrt(sum(squares)))
            original()

        optimiser.step = measuring  # type: ignore[method-assign]
        result = step(task, optimiser, devices, batches, max_grad_norm=limit)
        norms.append((result.gradient_norm, seen[0]))
    (whole, untouched), (before, scaled) = norms
    assert whole == pytest.approx(untouched, rel=1e-5)
    assert before == pytest.approx(whole, rel=1e-6)
    assert scaled == pytest.approx(1e-3, rel=1e-3)


def test_a_batch_that_does_not_fit_is_split_once_with_a_warning(
    batches: list[Batch], devices: Devices, caplog: pytest.LogCaptureFixture
) -> None:
    wide = max(batches, key=lambda batch: len(batch.input_ids))
    easy, optimiser = make_task()
    expected = step(easy, optimiser, devices, [wide])
    tight, other = make_task()
    tight.module.rows_limit = (len(wide.input_ids) + 1) // 2
    with caplog.at_level(logging.WARNING):
        result = step(tight, other, devices, [wide], 7)
    assert caplog.text.count("out of memory") == 1
    assert "step 7: out of memory; its batches are split in halves" in caplog.text
    assert result.loss == pytest.approx(expected.loss, rel=1e-6)
    for a, b in zip(parameters(easy), parameters(tight), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_nothing_of_the_failed_try_is_left_in_the_gradients(batches: list[Batch], devices: Devices) -> None:
    """The second batch of the step fails, after the first has left gradients."""
    rows = [len(batch.input_ids) for batch in batches]
    small, wide = batches[rows.index(min(rows))], batches[rows.index(max(rows))]
    assert len(small.input_ids) < len(wide.input_ids)
    easy, optimiser = make_task()
    expected = step(easy, optimiser, devices, [small, wide])
    tight, other = make_task()
    tight.module.rows_limit = max(len(small.input_ids), (len(wide.input_ids) + 1) // 2)
    result = step(tight, other, devices, [small, wide])
    assert result.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-5)


def test_halves_that_do_not_fit_either_stop_the_run(batches: list[Batch], devices: Devices) -> None:
    wide = max(batches, key=lambda batch: len(batch.input_ids))
    task, optimiser = make_task()
    task.module.rows_limit = 1
    before = parameters(task)
    with pytest.raises(
        OutOfMemoryError, match=r"step 5: out of memory .* in halves neither .*Lower the token budget"
    ):
        step(task, optimiser, devices, [wide], 5)
    for a, b in zip(before, parameters(task), strict=True):
        assert torch.equal(a, b)
    assert all(parameter.grad is None for parameter in task.module.parameters())


def test_a_single_text_cannot_be_split(batches: list[Batch], devices: Devices) -> None:
    (single, *_) = next(batch for batch in batches if len(batch.input_ids) > 1).split()
    while len(single.input_ids) > 1:
        single = single.split()[0]
    task, optimiser = make_task()
    task.module.rows_limit = 0
    with pytest.raises(
        OutOfMemoryError, match=rf"one text alone cannot be split \(texts {single.text_ids[0]}\)"
    ):
        step(task, optimiser, devices, [single])


def test_a_loss_that_is_no_number_leaves_everything_as_it_was(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    step(task, optimiser, devices, batches[:1])
    assert batches[2].labels is not None
    poison = int(batches[2].labels[batches[2].labels >= 0][0])
    clean = [batch for batch in batches if batch.labels is not None and not (batch.labels == poison).any()]
    task.module.poison = poison
    # What rows owe to weight decay may be paid meanwhile: compared is what would be exported.
    before = {name: each.clone() for name, each in optimiser.exported_state(task.module).items()}
    state = optimiser.state_dict()["tables"][0]["decay_sum"]
    with pytest.raises(
        BadBatches, match=r"step 9: the loss is nan. The texts of the batch are \d+"
    ) as caught:
        step(task, optimiser, devices, [*clean[:1], batches[2]], 9)
    assert caught.value.batches == (batches[2],)
    assert math.isnan(caught.value.losses[0])
    assert str(batches[2].text_ids[0]) in str(caught.value)
    for name, tensor in optimiser.exported_state(task.module).items():
        torch.testing.assert_close(tensor, before[name], rtol=1e-6, atol=0)
    assert optimiser.state_dict()["tables"][0]["decay_sum"] == state


def test_an_infinite_gradient_is_caught_as_well(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    task.module.output.bias.register_hook(lambda gradient: gradient / 0)
    with pytest.raises(BadBatches, match=r"the loss is 4\.\d+, but its gradient's norm (inf|nan)"):
        step(task, optimiser, devices, batches[:1])


def test_other_errors_pass(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    task.module.rows_limit = "no number"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        step(task, optimiser, devices, batches[:1])


def test_measuring_changes_nothing_not_by_a_rounding(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    for batch in batches:
        step(task, optimiser, devices, [batch])
    before, decayed = parameters(task), optimiser.state_dict()["tables"][0]["state"]["decayed"]
    loss = no_gradient(task, optimiser, devices, batches[0])
    assert torch.equal(optimiser.state_dict()["tables"][0]["state"]["decayed"], decayed)
    for a, b in zip(before, parameters(task), strict=True):
        assert torch.equal(a, b)
    task.module.load_state_dict({k: v.clone() for k, v in optimiser.exported_state(task.module).items()})
    expected = task.module(**task.prepare(batches[0]).inputs).detach()
    assert loss == pytest.approx(float(expected), rel=1e-6), "with all decay applied"


def test_rows_are_brought_up_to_date_before_they_are_read(batches: list[Batch], devices: Devices) -> None:
    task, optimiser = make_task()
    seen: list[torch.Tensor] = []
    original = optimiser.before_forward
    optimiser.before_forward = lambda ids, tables=None: (seen.append(ids), original(ids, tables))[1]  # type: ignore[assignment,method-assign,func-returns-value]
    step(task, optimiser, devices, batches[:2])
    assert [rows.tolist() for rows in seen] == [
        torch.unique(batch.input_ids).tolist() for batch in batches[:2]
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
        (KeyError("memory"), False),
    ],
)
def test_what_running_out_of_memory_looks_like(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_memory_is_measured() -> None:
    gc.collect()
    device = torch.device("cpu")
    assert 50 < memory_mib(device) <= peak_memory_mib(device) < 1e6
