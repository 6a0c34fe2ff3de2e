from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from polycompress.errors import InputError
from polycompress.kernels.linear_distillation import linear_distillation, linear_distillation_reference
from polycompress.kernels.linear_distillation import rows as plain
from tests.kernels.triton_tools import (
    ARCHITECTURES,
    compile_kernel,
    gpu,
    needs_triton,
    poisoned_memory,
    run_interpreted,
)

# (tokens, ids, student's width, teacher's width): nothing round, one of each, more than a block of the kernel holds
SHAPES = [(1, 1, 1, 1), (5, 33, 7, 12), (7, 150, 17, 5), (3, 2600, 5, 9)]
KINDS = [torch.float32, torch.bfloat16, torch.float16]
DIVERGENCES = ["forward", "reverse", "jensen-shannon"]
# Share of the largest element (of 1 for the loss) by which results may be off. With half-precision inputs the CPU
# rounds logits to the inputs' type: the loss may then be off by that rounding.
TOLERANCES = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 6e-3}

Inputs = dict[str, Any]


def make(
    tokens: int,
    ids: int,
    student: int,
    teacher: int,
    *,
    kind: torch.dtype = torch.float64,
    device: str = "cpu",
    biases: bool = True,
    labels: bool = True,
) -> Inputs:
    """Arguments of the operation, some positions ignored."""
    generator = torch.Generator().manual_seed(tokens * 1000 + ids)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(kind).to(device)

    wanted = torch.randint(ids, (tokens,), generator=generator)
    wanted[1::4] = -100
    return {
        "student_hidden": draw(tokens, student).requires_grad_(),
        "student_table": draw(ids, student, scale=1.5 / math.sqrt(student)).requires_grad_(),
        "teacher_hidden": draw(tokens, teacher),
        "teacher_table": draw(ids, teacher, scale=1.5 / math.sqrt(teacher)),
        "labels": wanted.to(device) if labels else None,
        "student_bias": draw(ids).requires_grad_() if biases else None,
        "teacher_bias": draw(ids) if biases else None,
    }


def learners(inputs: Inputs) -> list[Tensor]:
    return [value for value in inputs.values() if isinstance(value, Tensor) and value.requires_grad]


def in_float64(inputs: Inputs) -> Inputs:
    def convert(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        exact = value.detach().cpu()
        return exact.double().requires_grad_(value.requires_grad) if value.is_floating_point() else exact

    return {name: convert(value) for name, value in inputs.items()}


def agree(found: Tensor, wanted: Tensor, share: float) -> None:
    """Within a share of the largest element, NaN nowhere."""
    right = wanted.detach().cpu()
    limit = share * float(right.abs().max()) if right.numel() else 0.0
    torch.testing.assert_close(found.detach().double().cpu(), right, rtol=0, atol=limit + 1e-15)


def check(inputs: Inputs, impl: str, **settings: Any) -> None:
    """Loss and every gradient against float64, with an upstream gradient that is not 1."""
    share = TOLERANCES[inputs["student_hidden"].dtype]
    exact = in_float64(inputs)
    wanted = linear_distillation_reference(**exact, **settings)
    found = linear_distillation(**inputs, **settings, impl=impl)
    wide = inputs["student_hidden"].dtype == torch.float64
    assert found.dtype == (torch.float64 if wide else torch.float32)
    torch.testing.assert_close(found.detach().double().cpu(), wanted.detach(), rtol=share, atol=share)
    gradients = torch.autograd.grad(found * -2.5, learners(inputs))
    rights = torch.autograd.grad(wanted * -2.5, learners(exact))
    for gradient, right, tensor in zip(gradients, rights, learners(inputs), strict=True):
        assert gradient.dtype == tensor.dtype
        agree(gradient, right, share)


def settings_of(divergence: str) -> list[dict[str, Any]]:
    return [
        {"divergence": divergence},
        {"divergence": divergence, "temperature": 2.5, "beta": 0.1, "hard_weight": 0.4},
        {"divergence": divergence, "temperature": 0.7, "beta": 0.9},
        {"divergence": divergence, "hard_weight": 1.0},
    ]


def check_all(device: str, impl: str) -> None:
    with poisoned_memory():
        for shape, kind, divergence in itertools.product(SHAPES, KINDS, DIVERGENCES):
            if impl == "triton" and device == "cpu" and shape != SHAPES[1] and kind != torch.float32:
                continue  # the interpreter is slow, and the type matters at loads and stores only
            for place, settings in enumerate(settings_of(divergence)):
                inputs = make(*shape, kind=kind, device=device, biases=place % 2 == 0)
                if place == 2:
                    inputs["labels"] = None
                if place == 3:
                    inputs["labels"] = inputs["labels"].int()
                check(inputs, impl, **settings)


def check_ugly(device: str, impl: str) -> None:
    with poisoned_memory():
        inputs = make(14, 90, 10, 8, kind=torch.float32, device=device)
        settings = {"divergence": "reverse", "temperature": 2.0, "hard_weight": 0.3}
        gaps = {
            **inputs,
            "student_hidden": inputs["student_hidden"].detach()[:, 1::2].requires_grad_(),
            "student_table": inputs["student_table"].detach().t().contiguous().t()[:, 1::2].requires_grad_(),
            "teacher_hidden": inputs["teacher_hidden"].t().contiguous().t(),
            "teacher_table": inputs["teacher_table"][:1].expand(90, 8),
            "labels": inputs["labels"].repeat_interleave(3)[::3],
        }
        assert not gaps["student_hidden"].is_contiguous()
        check(gaps, impl, **settings)
        for divergence in DIVERGENCES:
            shut = {name: inputs[name].detach().clone() for name in ("student_bias", "teacher_bias")}
            for bias in shut.values():
                bias[[0, 5, 89]] = -torch.inf  # ids that both exclude
            open_labels = inputs["labels"].clone()
            open_labels[(open_labels == 0) | (open_labels == 5) | (open_labels == 89)] = 7
            shut["student_bias"].requires_grad_()
            check({**inputs, **shut, "labels": open_labels}, impl, divergence=divergence, hard_weight=0.2)
        # a teacher that is certain, far from the student
        loud = {**inputs, "teacher_table": inputs["teacher_table"] * 40}
        check(loud, impl, divergence="forward")
        check(loud, impl, divergence="jensen-shannon")
        # nothing counts, and nothing is there
        nothing = torch.full_like(inputs["labels"], -100)
        empty = {
            "student_hidden": inputs["student_hidden"].detach()[:0].requires_grad_(),
            "teacher_hidden": inputs["teacher_hidden"][:0],
        }
        for change in (
            {"labels": nothing},
            {**empty, "labels": inputs["labels"][:0]},
            {**empty, "labels": None},
        ):
            changed = {**inputs, **change}
            weight = 0.0 if changed["labels"] is None else 0.5
            loss = linear_distillation(**changed, hard_weight=weight, impl=impl)
            assert float(loss.detach()) == 0.0
            for gradient in torch.autograd.grad(loss, learners(changed)):
                assert not bool(gradient.any())


def body_shapes(device: str) -> None:
    check_all(device, "triton")


def body_ugly(device: str) -> None:
    check_ugly(device, "triton")


def body_training(device: str) -> None:
    """A student learns the same with and without the kernel."""
    curves = []
    for impl in ("triton", "reference"):
        inputs = make(6, 30, 5, 4, kind=torch.float32, device=device)
        optimiser = torch.optim.Adam(learners(inputs), lr=0.05)
        curves.append([])
        for _ in range(8):
            optimiser.zero_grad()
            loss = linear_distillation(**inputs, temperature=2.0, hard_weight=0.2, impl=impl)
            loss.backward()
            optimiser.step()
            curves[-1].append(float(loss.detach()))
    assert curves[0][-1] < 0.9 * curves[0][0]
    torch.testing.assert_close(torch.tensor(curves[0]), torch.tensor(curves[1]), rtol=1e-4, atol=0)


BODIES = [body_shapes, body_ugly, body_training]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_reference_agrees_with_float64(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    check_all(device, "reference")
    check_ugly(device, "reference")


@needs_triton
def test_triton_interpreted() -> None:
    run_interpreted(*BODIES)


@gpu
@pytest.mark.parametrize("body", BODIES)
def test_triton_on_a_gpu(body) -> None:  # noqa: ANN001
    body("cuda")


@needs_triton
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_triton_compiles_without_a_gpu(architecture: int, divergence: str, kind: str) -> None:
    from polycompress.kernels.linear_distillation import kernel

    compile_kernel(
        kernel._linear_distillation_rows_kernel,
        {
            "student": "*fp32",
            "teacher": "*fp32",
            "labels": "*i64",
            "losses": "*fp32",
            "gradient": f"*{kind}",
            "columns": "i32",
            **dict.fromkeys(("student_stride", "teacher_stride", "gradient_stride"), "i64"),
            **dict.fromkeys(("scale", "beta", "soft_weight", "soft_slope", "hard_weight"), "fp32"),
        },
        {
            "KIND": kernel._KINDS[divergence],
            "HARD": True,
            "SOFTENED": kind != "fp32",
            "WANT_GRADIENT": True,
            "BLOCK": kernel._BLOCK,
        },
        architecture,
    )


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(("temperature", "hard_weight"), [(1.0, 0.0), (2.0, 0.3)])
def test_gradcheck(divergence: str, temperature: float, hard_weight: float) -> None:
    inputs = make(5, 11, 3, 4)

    def loss(hidden: Tensor, table: Tensor, bias: Tensor) -> Tensor:
        changed = {**inputs, "student_hidden": hidden, "student_table": table, "student_bias": bias}
        return linear_distillation(
            **changed, divergence=divergence, temperature=temperature, hard_weight=hard_weight, beta=0.3
        )

    assert torch.autograd.gradcheck(loss, learners(inputs))


def test_the_definitions_by_hand() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    q, p = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.2, 0.6])

    def loss(**settings: Any) -> float:
        return float(
            linear_distillation(
                one, q.double().log().unsqueeze(1), one, p.double().log().unsqueeze(1), **settings
            )
        )

    forward = 0.2 * math.log(0.2 / 0.7) + 0.6 * math.log(0.6 / 0.1)
    reverse = 0.7 * math.log(0.7 / 0.2) + 0.1 * math.log(0.1 / 0.6)
    assert loss() == pytest.approx(forward, rel=1e-6)
    assert loss(divergence="reverse") == pytest.approx(reverse, rel=1e-6)
    m = [0.25 * a + 0.75 * b for a, b in zip(p.tolist(), q.tolist(), strict=True)]
    shannon = 0.25 * sum(a * math.log(a / c) for a, c in zip(p.tolist(), m, strict=True)) + 0.75 * sum(
        b * math.log(b / c) for b, c in zip(q.tolist(), m, strict=True)
    )
    assert loss(divergence="jensen-shannon", beta=0.25) == pytest.approx(shannon, rel=1e-6)
    # temperature 2: probabilities go as their square roots, times 4
    roots_p, roots_q = (
        p.double().sqrt() / p.double().sqrt().sum(),
        q.double().sqrt() / q.double().sqrt().sum(),
    )
    softened = 4.0 * float((roots_p * (roots_p / roots_q).log()).sum())
    assert loss(temperature=2.0) == pytest.approx(softened, rel=1e-6)
    # the label's part stays at temperature 1
    label = torch.tensor([2])
    mixed = loss(temperature=2.0, labels=label, hard_weight=0.25)
    assert mixed == pytest.approx(0.75 * softened - 0.25 * math.log(0.1), rel=1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(divergence: str) -> None:
    inputs = make(9, 40, 6, 6, kind=torch.float32)
    twin = {**inputs, "teacher_hidden": inputs["student_hidden"].detach()}
    twin |= {
        "teacher_table": inputs["student_table"].detach(),
        "teacher_bias": inputs["student_bias"].detach(),
    }
    loss = linear_distillation(**twin, divergence=divergence, temperature=3.0)
    assert abs(float(loss.detach())) < 1e-6
    for gradient in torch.autograd.grad(loss, learners(twin)):
        assert float(gradient.abs().max()) < 1e-6


@given(
    divergence=st.sampled_from(DIVERGENCES),
    beta=st.floats(0.01, 0.99),
    temperature=st.floats(0.2, 8.0),
    seed=st.integers(0, 99),
)
def test_never_negative_and_bounded(divergence: str, beta: float, temperature: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(*shape, generator=generator) * 3 for shape in ((4, 3), (17, 3), (4, 5), (17, 5))]
    loss = float(linear_distillation(*tensors, divergence=divergence, beta=beta, temperature=temperature))
    assert loss > -1e-5 * temperature**2
    if divergence == "jensen-shannon":  # at most the entropy of (beta, 1 - beta)
        most = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
        assert loss <= temperature**2 * most * (1 + 1e-5)


def test_the_limits_of_jensen_shannon_are_the_two_divergences() -> None:
    inputs = make(6, 20, 5, 4)
    small = 1e-7
    for beta, scale, divergence in ((small, small, "forward"), (1 - small, small, "reverse")):
        shannon = linear_distillation(**inputs, divergence="jensen-shannon", beta=beta) / scale
        torch.testing.assert_close(
            shannon, linear_distillation(**inputs, divergence=divergence), rtol=2e-4, atol=0
        )


def test_ignored_positions_change_nothing() -> None:
    inputs = make(13, 30, 5, 4, kind=torch.float32)
    kept = inputs["labels"] != -100
    found = linear_distillation(**inputs, hard_weight=0.5)
    less = {
        **inputs,
        "student_hidden": inputs["student_hidden"].detach()[kept],
        "teacher_hidden": inputs["teacher_hidden"][kept],
        "labels": inputs["labels"][kept],
    }
    torch.testing.assert_close(found, linear_distillation(**less, hard_weight=0.5))
    (gradient,) = torch.autograd.grad(found, [inputs["student_hidden"]])
    assert not bool(gradient[~kept].any())
    # not even if what stands there is no number
    poisoned = inputs["teacher_hidden"].clone()
    poisoned[~kept] = torch.nan
    torch.testing.assert_close(
        found, linear_distillation(**{**inputs, "teacher_hidden": poisoned}, hard_weight=0.5)
    )
    other = {**inputs, "labels": inputs["labels"].masked_fill(~kept, -1)}
    torch.testing.assert_close(found, linear_distillation(**other, hard_weight=0.5, ignore_index=-1))


@pytest.mark.parametrize("token_tile", [1, 4, 100])
def test_tiles_and_slices_do_not_change_the_result(token_tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make(23, 70, 6, 9, kind=torch.float32)
    wanted = torch.autograd.grad(linear_distillation(**inputs, hard_weight=0.5), learners(inputs))
    monkeypatch.setattr(plain, "_SLICE_ELEMENTS", 64)
    loss = linear_distillation(**inputs, hard_weight=0.5, token_tile=token_tile)
    for gradient, right in zip(torch.autograd.grad(loss, learners(inputs)), wanted, strict=True):
        agree(gradient, right.double(), 1e-5)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that was made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_logits_of_all_tokens_never_exist(divergence: str) -> None:
    tokens, ids = 60, 500
    inputs = make(tokens, ids, 5, 4, kind=torch.float32)
    inputs["labels"] = inputs["labels"].clamp(min=0)
    with Largest() as seen:
        linear_distillation(**inputs, divergence=divergence, hard_weight=0.5).backward()
    assert seen.elements <= tokens * ids // 2
    with Largest() as seen:
        linear_distillation(**inputs, divergence=divergence, hard_weight=0.5, token_tile=2).backward()
    assert seen.elements <= 5 * ids


@pytest.mark.parametrize("frozen", ["student_table", "student_hidden", "student_bias"])
def test_frozen_parts_get_no_gradient(frozen: str) -> None:
    inputs = make(9, 30, 5, 4, kind=torch.float32)
    wanted = dict(
        zip(
            ("student_hidden", "student_table", "student_bias"),
            torch.autograd.grad(linear_distillation(**inputs), learners(inputs)),
            strict=True,
        )
    )
    inputs[frozen] = inputs[frozen].detach()
    linear_distillation(**inputs).backward()
    for name, right in wanted.items():
        if name == frozen:
            assert inputs[name].grad is None
        else:
            torch.testing.assert_close(inputs[name].grad, right)


def test_a_frozen_table_is_not_multiplied_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from polycompress.kernels.linear_distillation import op

    inputs = make(9, 30, 5, 4, kind=torch.float32)
    inputs["student_table"] = inputs["student_table"].detach()
    monkeypatch.setattr(op, "plus_product", None)
    linear_distillation(**inputs).backward()
    monkeypatch.setattr(op, "product", None)
    with torch.no_grad():
        quiet = linear_distillation(**inputs)
    assert not quiet.requires_grad


def test_the_teacher_gets_no_gradient() -> None:
    inputs = make(9, 30, 5, 4, kind=torch.float32)
    teachers = [inputs[name].requires_grad_() for name in ("teacher_hidden", "teacher_table", "teacher_bias")]
    linear_distillation(**inputs).backward()
    assert all(teacher.grad is None for teacher in teachers)


def test_backward_may_run_twice() -> None:
    inputs = make(9, 30, 5, 4, kind=torch.float32)
    loss = linear_distillation(**inputs)
    first = torch.autograd.grad(loss * 3, learners(inputs), retain_graph=True)
    second = torch.autograd.grad(loss * 3, learners(inputs))
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one, two)


def test_autocast_and_a_teacher_of_another_type() -> None:
    inputs = make(30, 60, 16, 9, kind=torch.float32, biases=False)
    wanted = torch.autograd.grad(linear_distillation(**inputs), learners(inputs))
    for name in ("teacher_hidden", "teacher_table"):
        inputs[name] = inputs[name].bfloat16()
    check_loss = linear_distillation(**inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_distillation(**inputs)
    for made in (check_loss, loss):
        for gradient, right in zip(torch.autograd.grad(made, learners(inputs)), wanted, strict=True):
            assert gradient.dtype == torch.float32
            agree(gradient, right.double(), 3e-2)


def test_it_trains() -> None:
    inputs = make(40, 25, 8, 12, kind=torch.float32, biases=False)
    optimiser = torch.optim.Adam(learners(inputs), lr=0.1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = linear_distillation(**inputs, temperature=2.0)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]


WRONG = [
    ({"divergence": "kl"}, r"divergence='kl' is unknown; use one of forward, reverse, jensen-shannon"),
    (
        {"divergence": "jensen-shannon", "beta": 1.0},
        r"beta=1\.0 has to lie between 0 and 1, neither included",
    ),
    ({"temperature": 0.0}, r"temperature=0\.0 has to be above 0"),
    ({"temperature": math.inf}, r"temperature=inf has to be above 0"),
    (
        {"hard_weight": 1.5, "temperature": -1},
        r"temperature=-1 .*; hard_weight=1\.5 has to lie between 0 and 1",
    ),
    ({"labels": None, "hard_weight": 0.5}, r"hard_weight=0\.5 needs labels"),
    ({"labels": torch.zeros(3, dtype=torch.int64)}, r"labels \(3,\) have to be \[T\] with T = 4"),
    ({"labels": torch.tensor([0, -100, 6, 1])}, r"label 6 at position 2 is outside the tables, .* 0 to 5"),
    ({"labels": torch.tensor([0, -100, 2, -3])}, r"label -3 at position 3"),
    ({"student_hidden": torch.zeros(4, 5)}, r"student_hidden \(4, 5\) and student_table \(6, 2\)"),
    ({"teacher_hidden": torch.zeros(5, 3)}, r"student has 4 positions and the teacher 5"),
    ({"teacher_table": torch.zeros(7, 3)}, r"student's table has 6 rows and the teacher's 7"),
    ({"teacher_bias": torch.zeros(5)}, r"teacher_bias \(5,\) has to be \[V\] with V = 6"),
    ({"token_tile": 0}, r"token_tile=0 has to be at least 1"),
    ({"impl": "fused"}, r"impl='fused' is unknown"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_input(change: dict[str, Any], message: str) -> None:
    right = {
        "student_hidden": torch.zeros(4, 2),
        "student_table": torch.zeros(6, 2),
        "teacher_hidden": torch.zeros(4, 3),
        "teacher_table": torch.zeros(6, 3),
        "labels": torch.tensor([0, -100, 5, 1]),
    }
    assert linear_distillation(**right).ndim == 0
    with pytest.raises(InputError, match=message):
        linear_distillation(**{**right, **change})
