from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch.nn import functional

from polycompress.moe.experts import PARAMETERS, Experts, Router
from polycompress.moe.fused import can_fuse, fused_networks
from polycompress.moe.reference import experts_reference
from polycompress.moe.segments import segment_networks
from polycompress.moe.sorting import Groups, combine, gather

Networks = Callable[..., torch.Tensor]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 4e-2}


def made(
    tokens: int, experts: int, k: int, *, gated: bool, dtype: torch.dtype, seed: int = 0
) -> dict[str, Any]:
    """Hidden states, choices and parameters of d = 8 and f = 16."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 0.5).to(dtype).requires_grad_()

    biased = {"up_bias": drawn(experts, 16), "down_bias": drawn(experts, 8)}
    choices = [torch.randperm(experts, generator=generator)[:k] for _ in range(tokens)]
    return {
        "hidden": drawn(tokens, 8),
        "indices": torch.stack(choices) if tokens else torch.zeros(0, k, dtype=torch.int64),
        "weights": torch.rand(tokens, k, generator=generator)
        .to(torch.promote_types(dtype, torch.float32))
        .requires_grad_(),
        "up": drawn(experts, 16, 8),
        "down": drawn(experts, 8, 16),
        **({"gate": drawn(experts, 16, 8)} if gated else biased),
    }


def by_segments(case: dict[str, Any], activation: Any) -> torch.Tensor:
    groups = Groups.of(case["indices"], len(case["up"]))
    parameters = {name: case[name] for name in PARAMETERS if name in case}
    return segment_networks(case["hidden"], case["weights"], groups, activation, **parameters)


def in_one(case: dict[str, Any], activation: Any) -> torch.Tensor:
    groups = Groups.of(case["indices"], len(case["up"]))
    rows = gather(case["hidden"], groups)
    parameters = {name: case[name] for name in PARAMETERS if name in case}
    return combine(fused_networks(rows, groups.counts, activation, **parameters), case["weights"], groups)


def truth(case: dict[str, Any], activation: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """What the reference gives in fp64, and its gradients."""
    wide = {
        name: each.detach().double().requires_grad_() if each.is_floating_point() else each
        for name, each in case.items()
    }
    output = experts_reference(
        wide["hidden"],
        wide["indices"],
        wide["weights"],
        activation=activation,
        **{name: wide[name] for name in PARAMETERS if name in wide},
    )
    (output * pattern(output)).sum().backward()
    return output.detach(), {name: each.grad for name, each in wide.items() if each.grad is not None}


def pattern(output: torch.Tensor) -> torch.Tensor:
    """A gradient from above that is not 1."""
    return torch.linspace(-1, 2, output.numel(), dtype=torch.float64).view_as(output).to(output.dtype)


def compare(case: dict[str, Any], networks: Networks, activation: Any) -> None:
    """Output and every gradient against the reference in fp64."""
    tolerance = TOLERANCE[case["up"].dtype]
    wanted, gradients = truth(case, activation)
    output = networks(case, activation)
    assert output.dtype == case["hidden"].dtype
    (output * pattern(output)).sum().backward()
    close(output.detach(), wanted, tolerance, "output")
    for name, each in gradients.items():
        close(case[name].grad, each, tolerance, name)


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float, name: str) -> None:
    scale = max(float(wanted.abs().max()), 1.0) if wanted.numel() else 1.0
    torch.testing.assert_close(
        found.double(), wanted, rtol=0, atol=tolerance * scale, msg=lambda text: f"{name}: {text}"
    )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_segments_are_the_reference(gated: bool, dtype: torch.dtype) -> None:
    compare(
        made(33, 5, 2, gated=gated, dtype=dtype), by_segments, functional.silu if gated else functional.gelu
    )


@given(st.integers(0, 9), st.integers(1, 6), st.data())
@hypothesis_settings(max_examples=25)
def test_any_number_of_tokens_experts_and_choices(tokens: int, experts: int, data: Any) -> None:
    k = data.draw(st.integers(1, experts))
    case = made(tokens, experts, k, gated=data.draw(st.booleans()), dtype=torch.float64)
    if tokens == 0:
        assert by_segments(case, torch.tanh).shape == (0, 8)
    else:
        compare(case, by_segments, torch.tanh)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_launch_is_the_reference(gated: bool, dtype: torch.dtype) -> None:
    case = made(40, 4, 2, gated=gated, dtype=dtype)
    assert not can_fuse(case["hidden"], case["up"])  # on a processor it would be slower, but gives the same
    compare(case, in_one, functional.silu if gated else functional.gelu)


def test_experts_without_rows_get_zeros() -> None:
    case = made(6, 4, 1, gated=False, dtype=torch.float32)
    case["indices"] = torch.full((6, 1), 2)
    by_segments(case, functional.gelu).sum().backward()
    for name in PARAMETERS:
        if name in case:
            idle = case[name].grad[[0, 1, 3]]
            assert torch.equal(idle, torch.zeros_like(idle)) and case[name].grad[2].abs().max() > 0


def test_frozen_experts_pass_gradients_on() -> None:
    case = made(6, 4, 2, gated=True, dtype=torch.float32)
    for name in PARAMETERS:
        if name in case:
            case[name].requires_grad_(False)
    by_segments(case, functional.silu).sum().backward()
    assert case["hidden"].grad.abs().max() > 0 and case["weights"].grad.abs().max() > 0
    assert case["up"].grad is None


def test_rows_are_sorted_stably_and_put_back() -> None:
    groups = Groups.of(torch.tensor([[2, 0], [0, 2], [2, 1]]), 4)
    assert groups.tokens.tolist() == [0, 1, 2, 0, 1, 2] and groups.counts.tolist() == [2, 1, 3, 0]
    assert groups.choices.tolist() == [1, 2, 5, 0, 3, 4] and groups.places.tolist() == [
        [3, 0],
        [1, 4],
        [5, 2],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_passes_give_the_same_bits_every_time(dtype: torch.dtype) -> None:
    found = []
    for _ in range(2):
        case = made(200, 8, 3, gated=False, dtype=dtype)
        output = by_segments(case, functional.gelu)
        (output * pattern(output)).sum().backward()
        found.append(
            [
                output,
                *(case[name].grad for name in ("hidden", "weights", "up", "down", "up_bias", "down_bias")),
            ]
        )
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("gated", [False, True])
def test_the_module_computes_in_autocasts_type(gated: bool) -> None:
    torch.manual_seed(0)
    module = Experts(3, 8, 16, gated=gated, bias=not gated, activation=functional.silu)
    module.reset_parameters(0.5)
    hidden, indices = torch.randn(5, 8), torch.tensor([[0, 1]] * 5)
    weights = torch.full((5, 2), 0.5)
    wanted = module(hidden, indices, weights)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(hidden, indices, weights)
    assert wanted.dtype == torch.float32 and found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.05 * float(wanted.detach().abs().max()))
    found.float().sum().backward()
    assert module.up.grad is not None and module.up.grad.dtype == torch.float32
    assert module.number == 3 and f"gated={gated}" in repr(module)


def test_the_router_stays_in_fp32() -> None:
    router = Router(4, 3)
    router.reset_parameters(1.0)
    before = router.weight.detach().clone()
    wrapped = torch.nn.Sequential(router, torch.nn.Linear(4, 4)).to(torch.bfloat16)
    assert torch.equal(router.weight, before) and wrapped[1].weight.dtype == torch.bfloat16
    hidden = torch.randn(5, 4).bfloat16()
    wanted = hidden.float() @ before.T
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(router(hidden), wanted, rtol=1e-6, atol=1e-6)
    assert wrapped.double()[0].weight.dtype == torch.float64 and "experts=3" in repr(router)
    assert wrapped.half()[0].weight.dtype == torch.float64  # never narrowed
