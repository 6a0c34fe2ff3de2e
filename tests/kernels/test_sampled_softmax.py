from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels import products
from polycompress.kernels.sampled_softmax import (
    draw_negatives,
    join_candidates,
    op,
    sampled_softmax,
    sampled_softmax_reference,
    weighted_proposal,
    zipf_proposal,
)
from tests.kernels.triton_tools import (
    ARCHITECTURES,
    compile_kernel,
    gpu,
    needs_triton,
    poisoned_memory,
    run_interpreted,
)

# (tokens, ids, width, tries): nothing round, one token, one id, more candidates than a block of the kernel holds
SHAPES = [(1, 1, 1, 1), (1, 7, 3, 2), (5, 33, 7, 9), (37, 150, 17, 40), (3, 2600, 5, 5000)]
# Share of the largest gradient, and of the loss, by which results may be off: rounding of the inputs' own type.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def make(
    tokens: int, ids: int, width: int, tries: int, *, kind: torch.dtype = torch.float64, device: str = "cpu"
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, table, labels (some ignored), negatives, log inclusion, bias."""
    generator = torch.Generator().manual_seed(tokens * 1000 + ids)
    hidden = torch.randn(tokens, width, generator=generator, dtype=torch.float64)
    table = torch.randn(ids, width, generator=generator, dtype=torch.float64)
    bias = torch.randn(ids, generator=generator, dtype=torch.float64)
    labels = torch.randint(ids, (tokens,), generator=generator)
    labels[1::4] = -100
    negatives, log_inclusion = draw_negatives(labels, ids, tries, generator=generator)
    floats = [tensor.to(kind).to(device).requires_grad_() for tensor in (hidden, table, bias)]
    return (
        floats[0],
        floats[1],
        labels.to(device),
        negatives.to(device),
        log_inclusion.to(device),
        floats[2],
    )


class Dense(torch.autograd.Function):
    """Identity whose gradient is dense, as gradcheck wants it."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:  # noqa: ANN001
        return tensor.clone()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> Tensor:  # noqa: ANN001
        return upstream.to_dense()


def gradients(loss: Tensor, *tensors: Tensor, upstream: float = 1.0) -> list[Tensor]:
    found = torch.autograd.grad(loss * upstream, tensors)
    return [gradient.to_dense().double().cpu() for gradient in found]


def agree(found: Tensor, wanted: Tensor, share: float) -> None:
    """Within a share of the largest element, NaN nowhere."""
    right = wanted.detach().cpu()
    limit = share * float(right.abs().max()) if right.numel() else 0.0
    torch.testing.assert_close(found.detach().double().cpu(), right, rtol=0, atol=limit)


def check(hidden, table, labels, negatives, log_inclusion, bias, impl: str) -> None:  # noqa: ANN001
    """Loss and every gradient against float64, with an upstream gradient that is not 1."""
    share = TOLERANCES[hidden.dtype]
    exact = [
        None if tensor is None else tensor.detach().cpu().double().requires_grad_()
        for tensor in (hidden, table, bias)
    ]
    wanted = sampled_softmax_reference(
        exact[0], exact[1], labels.cpu(), negatives.cpu(), log_inclusion.cpu(), bias=exact[2]
    )
    found = sampled_softmax(hidden, table, labels, negatives, log_inclusion, bias=bias, impl=impl)
    assert found.dtype == (torch.float64 if hidden.dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.detach().double().cpu(), wanted.detach(), rtol=share, atol=share)
    inputs = [tensor for tensor in (hidden, table, bias) if tensor is not None]
    wanted_gradients = gradients(wanted, *(tensor for tensor in exact if tensor is not None), upstream=-2.5)
    for gradient, right in zip(gradients(found, *inputs, upstream=-2.5), wanted_gradients, strict=True):
        agree(gradient, right, share)


def check_all(device: str, impl: str) -> None:
    with poisoned_memory():
        for shape in SHAPES:
            for kind in (torch.float32, torch.bfloat16, torch.float16):
                hidden, table, labels, negatives, log_inclusion, bias = make(*shape, kind=kind, device=device)
                check(hidden, table, labels, negatives, log_inclusion, bias, impl)
                check(hidden, table, labels.int(), negatives.int(), log_inclusion, None, impl)


def check_ugly(device: str, impl: str) -> None:
    with poisoned_memory():
        hidden, table, labels, negatives, log_inclusion, bias = make(
            26, 90, 14, 50, kind=torch.float32, device=device
        )
        views = [
            hidden.detach()[:, 1::2].requires_grad_(),  # gaps
            table.detach().t().contiguous().t()[:, 1::2].requires_grad_(),  # columns first
            labels.repeat_interleave(3)[::3],
        ]
        assert not views[0].is_contiguous()
        twice = torch.cat([negatives, negatives.flip(0), labels[labels >= 0]])  # repeated, and own tokens
        chances = torch.cat(
            [
                log_inclusion,
                log_inclusion.flip(0),
                torch.full_like(labels[labels >= 0], -3, dtype=torch.float32),
            ]
        )
        check(views[0], views[1], views[2], twice, chances, bias.detach().requires_grad_(), impl)
        none = negatives[:0]
        check(hidden, table, labels, none, log_inclusion[:0], bias, impl)  # own tokens only
        # nothing counts, and nothing is there
        for some in (torch.full_like(labels, -100), labels[:0]):
            states = hidden.detach()[: len(some)].requires_grad_()
            loss = sampled_softmax(states, table, some, negatives, log_inclusion, bias=bias, impl=impl)
            assert float(loss.detach()) == 0.0
            for gradient in gradients(loss, states, table, bias):
                assert not bool(gradient.any())


def body_shapes(device: str) -> None:
    check_all(device, "triton")


def body_ugly(device: str) -> None:
    check_ugly(device, "triton")


BODIES = [body_shapes, body_ugly]


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
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_triton_compiles_without_a_gpu(architecture: int, kind: str) -> None:
    from polycompress.kernels.sampled_softmax.kernel import _sampled_softmax_rows_kernel

    compile_kernel(
        _sampled_softmax_rows_kernel,
        {
            "logits": "*fp32",
            "correction": "*fp32",
            "targets": "*i64",
            "losses": "*fp32",
            "gradient": f"*{kind}",
            "columns": "i32",
            "logits_stride": "i64",
            "gradient_stride": "i64",
        },
        {"WANT_GRADIENT": True, "BLOCK": 2048},
        architecture,
    )


@pytest.mark.parametrize("with_bias", [False, True])
def test_gradcheck(with_bias: bool) -> None:
    hidden, table, labels, negatives, log_inclusion, bias = make(5, 12, 3, 4)

    def loss(*tensors: Tensor) -> Tensor:
        return sampled_softmax(
            tensors[0],
            Dense.apply(tensors[1]),
            labels,
            negatives,
            log_inclusion,
            bias=tensors[2] if with_bias else None,
        )

    inputs = (hidden, table, bias) if with_bias else (hidden, table)
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_with_every_id_it_is_the_full_cross_entropy(kind: torch.dtype) -> None:
    hidden, table, labels, _, _, bias = make(23, 310, 9, 1, kind=kind)
    negatives, log_inclusion = draw_negatives(labels, 310, 310)
    assert join_candidates(labels[labels >= 0], negatives, log_inclusion, 310).exact
    assert not join_candidates(labels[labels >= 0], negatives[1:], log_inclusion[1:], 310).exact
    assert not join_candidates(labels[labels >= 0], negatives, log_inclusion - 0.1, 310).exact
    found = sampled_softmax(hidden, table, labels, negatives, log_inclusion, bias=bias)
    wanted = torch.nn.functional.cross_entropy(
        torch.nn.functional.linear(hidden, table, bias), labels, ignore_index=-100
    )
    torch.testing.assert_close(found, wanted, rtol=2e-6, atol=0)
    for gradient, right in zip(
        gradients(found, hidden, table, bias), gradients(wanted, hidden, table, bias), strict=True
    ):
        agree(gradient, right, 5e-6)


def test_the_tables_gradient_is_sparse_and_holds_the_candidates_only() -> None:
    hidden, table, labels, negatives, log_inclusion, _ = make(11, 400, 6, 20, kind=torch.float32)
    sampled_softmax(hidden, table, labels, negatives, log_inclusion).backward()
    gradient = table.grad
    assert gradient.is_sparse
    assert gradient._values().dtype == torch.float32
    ids = sorted({*labels[labels >= 0].tolist(), *negatives.tolist()})
    assert gradient._indices()[0].tolist() == ids
    # a tied lookup adds its own sparse rows
    (table.grad, tied) = (None, torch.nn.functional.embedding(labels[2:5], table, sparse=True))
    (sampled_softmax(hidden, table, labels, negatives, log_inclusion) + tied.sum()).backward()
    assert table.grad.is_sparse


def test_tiles_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make(29, 120, 8, 60, kind=torch.float32)
    whole = sampled_softmax(*inputs[:5], bias=inputs[5])
    wanted = gradients(whole, *inputs[:2])
    monkeypatch.setitem(op._TILE_ELEMENTS, "cpu", 300)
    tiled = sampled_softmax(*inputs[:5], bias=inputs[5])
    torch.testing.assert_close(tiled, whole)
    for gradient, right in zip(gradients(tiled, *inputs[:2]), wanted, strict=True):
        agree(gradient, right, 2e-6)


def test_frozen_tensors_and_switched_off_gradients() -> None:
    hidden, table, labels, negatives, log_inclusion, _ = make(8, 50, 6, 20, kind=torch.float32)
    table.requires_grad_(False)
    loss = sampled_softmax(hidden, table, labels, negatives, log_inclusion)
    loss.backward()
    assert hidden.grad is not None
    assert table.grad is None
    with torch.no_grad():
        quiet = sampled_softmax(hidden, table, labels, negatives, log_inclusion)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, loss.detach())


def test_autocast_multiplies_in_bfloat16_and_keeps_float32_gradients() -> None:
    inputs = make(31, 200, 16, 80, kind=torch.float32)
    wanted = gradients(sampled_softmax(*inputs[:5]), *inputs[:2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert products.working_dtype(inputs[0], inputs[1]) is torch.bfloat16
        loss = sampled_softmax(*inputs[:5])
    assert loss.dtype == torch.float32
    loss.backward()
    assert inputs[1].grad.dtype == torch.float32
    for gradient, right in zip((inputs[0].grad, inputs[1].grad.to_dense()), wanted, strict=True):
        agree(gradient, right, TOLERANCES[torch.bfloat16])


@given(
    own=st.lists(st.integers(-1, 19), max_size=25),
    count=st.integers(0, 30),
    seed=st.integers(0, 5),
    weighted=st.booleans(),
)
def test_negatives_are_distinct_and_outside(own: list[int], count: int, seed: int, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    own_ids = torch.tensor(own, dtype=torch.int64)
    negatives, log_inclusion = draw_negatives(
        own_ids, 20, count, generator=generator, distribution=zipf_proposal(20) if weighted else None
    )
    found = negatives.tolist()
    assert found == sorted(set(found))
    assert not set(found) & set(own)
    assert all(0 <= token < 20 for token in found)
    assert len(found) <= count
    assert bool((log_inclusion <= 0).all())
    outside = 20 - len({token for token in own if token >= 0})
    if count >= outside:
        assert len(found) == outside
        assert not bool(log_inclusion.any())


@pytest.mark.parametrize("proposal", ["uniform", "zipf", "weights"])
def test_inclusion_probabilities_are_true_and_the_partition_unbiased(proposal: str) -> None:
    ids, count, rounds = 14, 6, 2000
    own = torch.tensor([0, 3, 3, 4, 13, -100])
    distribution = {
        "uniform": None,
        "zipf": zipf_proposal(ids),
        "weights": weighted_proposal(torch.arange(1, ids + 1) ** 1.5),
    }[proposal]
    generator = torch.Generator().manual_seed(5)
    scores = torch.randn(ids, generator=generator, dtype=torch.float64)
    drawn = torch.zeros(ids, dtype=torch.float64)
    probability = torch.zeros(ids, dtype=torch.float64)
    estimates = []
    for _ in range(rounds):
        negatives, log_inclusion = draw_negatives(
            own, ids, count, generator=generator, distribution=distribution
        )
        drawn[negatives] += 1
        probability[negatives] = log_inclusion.double().exp()
        candidates = join_candidates(own[own >= 0], negatives, log_inclusion, ids)
        estimates.append(float((scores[candidates.ids] + candidates.correction).exp().sum()))
    outside = sorted(set(range(ids)) - set(own.tolist()))
    for token in outside:
        chance = float(probability[token])
        spread = math.sqrt(chance * (1 - chance) / rounds)
        assert abs(float(drawn[token]) / rounds - chance) < 5 * spread, token
    mean = sum(estimates) / rounds
    spread = math.sqrt(sum((value - mean) ** 2 for value in estimates) / rounds / rounds)
    assert abs(mean - float(scores.exp().sum())) < 5 * spread
    if proposal == "uniform":
        chance = 1 - (1 - 1 / len(outside)) ** count
        torch.testing.assert_close(
            probability[outside], torch.full_like(probability[outside], chance), atol=1e-6, rtol=0
        )


@torch.no_grad()
def test_more_negatives_come_nearer_to_the_full_loss() -> None:
    hidden, table, labels, _, _, _ = make(40, 2000, 8, 1)
    full = float(torch.nn.functional.cross_entropy(hidden @ table.T, labels, ignore_index=-100))
    generator = torch.Generator().manual_seed(0)
    errors = []
    for count in (20, 200, 1999):
        losses = [
            float(
                sampled_softmax(
                    hidden, table, labels, *draw_negatives(labels, 2000, count, generator=generator)
                )
            )
            for _ in range(12)
        ]
        errors.append(sum(abs(loss - full) for loss in losses) / len(losses))
    assert errors[0] > errors[1] > errors[2]
    assert errors[1] < 0.05 * full


def test_draws_come_back_with_the_generators_state() -> None:
    own = torch.tensor([1, 2, 3])
    first = draw_negatives(own, 1000, 50, generator=torch.Generator().manual_seed(3))
    second = draw_negatives(own.int(), 1000, 50, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"labels": torch.tensor([3, 50, 2])},
            r"label 50 \(number 1 of those that count\) is outside the table.* 0 to 19",
        ),
        ({"labels": torch.tensor([3, -1, 2])}, r"label -1 \(number 1"),
        ({"negatives": torch.tensor([5, 20])}, r"negative 20 \(number 1"),
        ({"log_inclusion": torch.tensor([-0.5, 0.2])}, r"log_inclusion\[1\] is 0\.2.*0 or less"),
        ({"log_inclusion": torch.tensor([float("nan"), -0.2])}, r"log_inclusion\[0\] is nan"),
        ({"log_inclusion": torch.zeros(3)}, r"negatives \(2,\) and log_inclusion \(3,\)"),
        ({"labels": torch.zeros(4, dtype=torch.int64)}, r"labels \(4,\) have to be \[T\] with T = 3"),
        ({"hidden": torch.zeros(3, 5)}, r"hidden \(3, 5\) and table \(20, 4\)"),
        ({"bias": torch.zeros(19)}, r"bias \(19,\) has to be \[V\] with V = 20"),
        ({"impl": "cuda"}, r"impl='cuda' is unknown"),
    ],
)
def test_wrong_input(change: dict[str, object], message: str) -> None:
    right = {
        "hidden": torch.zeros(3, 4),
        "table": torch.zeros(20, 4),
        "labels": torch.tensor([3, -100, 2]),
        "negatives": torch.tensor([5, 6]),
        "log_inclusion": torch.tensor([-0.5, -0.5]),
    }
    assert sampled_softmax(**right).ndim == 0
    with pytest.raises(InputError, match=message):
        sampled_softmax(**{**right, **change})


def test_wrong_draws() -> None:
    with pytest.raises(InputError, match=r"own id 9 is outside a vocabulary of 9 ids"):
        draw_negatives(torch.tensor([1, 9]), 9, 3)
    with pytest.raises(InputError, match=r"proposal is over 8 ids and the vocabulary has 9"):
        draw_negatives(torch.tensor([1]), 9, 3, distribution=zipf_proposal(8))
    with pytest.raises(InputError, match=r"weight 0\.0 of id 2 is not above 0"):
        weighted_proposal(torch.tensor([1.0, 2.0, 0.0]))
    with pytest.raises(InputError, match=r"weight nan of id 0"):
        weighted_proposal(torch.tensor([float("nan"), 2.0]))
    with pytest.raises(InputError, match=r"no weights were given"):
        weighted_proposal(torch.tensor([]))
