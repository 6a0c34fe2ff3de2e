from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.factorised_embedding import factorised_embedding, factorised_embedding_reference
from polycompress.kernels.factorised_embedding import reference as plain
from tests.kernels.triton_tools import (
    ARCHITECTURES,
    compile_kernel,
    gpu,
    needs_triton,
    poisoned_memory,
    run_interpreted,
)

# (ids, table's rows, k, d): nothing round, one of each, more than a block of the kernel in every direction
SHAPES = [(1, 1, 1, 1), (5, 9, 3, 7), (65, 40, 33, 129), (130, 300, 70, 33)]
KINDS = [torch.float32, torch.bfloat16, torch.float16]
# Share of the largest element by which results may be off: rounding of the type of the result or of the gradient.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


def make(
    amount: int,
    vocabulary: int,
    depth: int,
    width: int,
    *,
    kind: torch.dtype = torch.float64,
    device: str = "cpu",
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids (some repeated), coordinates, primitives and an upstream gradient."""
    generator = torch.Generator().manual_seed(amount + depth)
    ids = (torch.rand(amount, generator=generator) ** 3 * vocabulary).long()
    shapes = [(vocabulary, depth), (depth, width), (amount, width)]
    floats = [
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(kind).to(device) for shape in shapes
    ]
    return ids.to(device), floats[0].requires_grad_(), floats[1].requires_grad_(), floats[2]


def agree(found: Tensor, wanted: Tensor, share: float) -> None:
    """Within a share of the largest element, NaN nowhere."""
    right = wanted.detach().cpu()
    limit = share * float(right.abs().max()) if right.numel() else 0.0
    torch.testing.assert_close(found.detach().double().cpu(), right, rtol=0, atol=limit)


def check(ids: Tensor, coordinates: Tensor, primitives: Tensor, upstream: Tensor, impl: str) -> None:
    """The result and both gradients against float64."""
    share = TOLERANCES[coordinates.dtype]
    exact = [tensor.detach().cpu().double().requires_grad_() for tensor in (coordinates, primitives)]
    wanted = factorised_embedding_reference(ids.cpu(), *exact)
    found = factorised_embedding(ids, coordinates, primitives, impl=impl)
    assert found.dtype == coordinates.dtype
    assert found.shape == (*ids.shape, primitives.shape[1])
    agree(found, wanted, share)
    wanted_gradients = torch.autograd.grad(wanted, exact, upstream.cpu().double())
    by_coordinates, by_primitives = torch.autograd.grad(found, (coordinates, primitives), upstream)
    assert by_coordinates.is_sparse
    assert by_coordinates._indices()[0].tolist() == sorted(set(ids.flatten().tolist()))
    agree(by_coordinates.to_dense(), wanted_gradients[0], share)
    agree(by_primitives, wanted_gradients[1], share)


def check_all(device: str, impl: str) -> None:
    with poisoned_memory():
        for shape in SHAPES:
            for kind in KINDS:
                ids, coordinates, primitives, upstream = make(*shape, kind=kind, device=device)
                check(ids, coordinates, primitives, upstream, impl)
                check(ids.int(), coordinates, primitives, upstream, impl)


def check_ugly(device: str, impl: str) -> None:
    with poisoned_memory():
        ids, coordinates, primitives, upstream = make(60, 50, 20, 40, kind=torch.float32, device=device)
        gaps = coordinates.detach()[:, 1::2].requires_grad_()
        turned = primitives.detach()[:10].t().contiguous().t().requires_grad_()
        assert not gaps.is_contiguous() and not turned.is_contiguous()
        check(ids[::2], gaps, turned, upstream[::2], impl)
        check(ids.view(5, 12).t(), gaps, turned, upstream.view(5, 12, 40).transpose(0, 1), impl)
        check(ids, coordinates, primitives, upstream[:1].expand(60, 40), impl)  # as a sum's backward gives
        check(ids[:0], coordinates, primitives, upstream[:0], impl)
        check(ids[:0].view(0, 3), coordinates, primitives, upstream[:0].view(0, 3, 40), impl)
        check(ids[3], coordinates, primitives, upstream[3], impl)  # one id, no dimension


def body_shapes(device: str) -> None:
    check_all(device, "triton")


def body_ugly(device: str) -> None:
    check_ugly(device, "triton")


def body_outside(device: str) -> None:
    _, coordinates, primitives, _ = make(60, 50, 20, 40, kind=torch.float32, device=device)
    found = factorised_embedding(
        torch.tensor([3, 50, -1, 4], device=device), coordinates, primitives, impl="triton"
    )
    assert found.isnan().all(dim=1).tolist() == [False, True, True, False]
    assert found.isnan().any(dim=1).tolist() == [False, True, True, False]


BODIES = [body_shapes, body_ugly, body_outside]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_reference_agrees_with_float64(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    check_all(device, "reference")
    check_ugly(device, "reference")


@given(ids=st.lists(st.integers(0, 8), max_size=30), depth=st.integers(1, 5), width=st.integers(1, 5))
def test_any_ids(ids: list[int], depth: int, width: int) -> None:
    _, coordinates, primitives, _ = make(1, 9, depth, width)
    upstream = torch.randn(len(ids), width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    check(torch.tensor(ids, dtype=torch.int64), coordinates, primitives, upstream, "auto")


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
    import triton.language as tl

    from polycompress.kernels.factorised_embedding import kernel

    numbers = ("amount", "vocabulary", "depth", "width")
    strides = ("coordinates_stride_v", "coordinates_stride_k", "primitives_stride_k", "primitives_stride_d")
    compile_kernel(
        kernel._factorised_embedding_fwd_kernel,
        {
            "ids": "*i64",
            "coordinates": "*fp32",
            "primitives": f"*{kind}",
            "result": f"*{kind}",
            **dict.fromkeys(numbers, "i32"),
            **dict.fromkeys(strides, "i64"),
        },
        {
            "DOT": {"fp32": tl.float32, "bf16": tl.bfloat16, "fp16": tl.float16}[kind],
            "IDS": kernel._IDS,
            "COLUMNS": kernel._COLUMNS,
            "DEPTH": kernel._DEPTH,
        },
        architecture,
    )


class Dense(torch.autograd.Function):
    """Identity whose gradient is dense, as gradcheck wants it."""

    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:  # noqa: ANN001
        return tensor.clone()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> Tensor:  # noqa: ANN001
        return upstream.to_dense()


def test_gradcheck() -> None:
    ids, coordinates, primitives, _ = make(7, 6, 3, 4)

    def lookup(left: Tensor, right: Tensor) -> Tensor:
        return factorised_embedding(ids, Dense.apply(left), right)

    assert torch.autograd.gradcheck(lookup, (coordinates, primitives))


def test_pieces_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "_IDS_AT_ONCE", 7)
    check(*make(65, 40, 33, 129, kind=torch.float32), "reference")


def test_two_runs_are_equal_bit_for_bit() -> None:
    ids, coordinates, primitives, upstream = make(500, 30, 8, 16, kind=torch.float32)
    runs = [
        torch.autograd.grad(
            factorised_embedding(ids, coordinates, primitives), (coordinates, primitives), upstream
        )
        for _ in range(2)
    ]
    assert torch.equal(runs[0][0].to_dense(), runs[1][0].to_dense())
    assert torch.equal(runs[0][1], runs[1][1])


def test_frozen_parts_get_no_gradient() -> None:
    ids, coordinates, primitives, _ = make(9, 12, 3, 4, kind=torch.float32)
    coordinates.requires_grad_(False)
    factorised_embedding(ids, coordinates, primitives).sum().backward()
    assert coordinates.grad is None
    assert primitives.grad is not None
    coordinates.requires_grad_(True)
    primitives.requires_grad_(False)
    factorised_embedding(ids, coordinates, primitives).sum().backward()
    assert coordinates.grad.is_sparse


def test_autocast() -> None:
    ids, coordinates, primitives, upstream = make(30, 12, 8, 16, kind=torch.float32)
    wanted = torch.autograd.grad(
        factorised_embedding_reference(ids, coordinates, primitives), (coordinates, primitives), upstream
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = factorised_embedding(ids, coordinates, primitives)
        assert found.dtype == torch.bfloat16
        gradients = torch.autograd.grad(found, (coordinates, primitives), upstream.bfloat16())
    for gradient, right in zip(gradients, wanted, strict=True):
        assert gradient.dtype == torch.float32
        agree(gradient.to_dense(), right.double(), TOLERANCES[torch.bfloat16])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": torch.tensor([1, 5, 9])}, r"id 5 at place 1 is outside the table, which has rows 0 to 4"),
        ({"ids": torch.tensor([[1, 2], [-3, 0]])}, r"id -3 at place 2"),
        ({"ids": torch.tensor([1.0])}, r"ids are torch\.float32; they have to be int32 or int64"),
        ({"primitives": torch.zeros(4, 2)}, r"coordinates \(5, 3\) and primitives \(4, 2\)"),
        ({"impl": "fast"}, r"impl='fast' is unknown"),
    ],
)
def test_wrong_input(change: dict[str, object], message: str) -> None:
    right = {"ids": torch.tensor([1]), "coordinates": torch.zeros(5, 3), "primitives": torch.zeros(3, 2)}
    assert factorised_embedding(**right).shape == (1, 2)
    with pytest.raises(InputError, match=message):
        factorised_embedding(**{**right, **change})


def test_padding_sends_no_gradient() -> None:
    _, coordinates, primitives, _ = make(4, 9, 3, 7)
    ids = torch.tensor([[1, 4], [4, 2]])
    upstream = torch.ones(2, 2, 7, dtype=torch.float64)
    found = factorised_embedding(ids, coordinates, primitives, padding_idx=4)
    agree(found, factorised_embedding_reference(ids, coordinates, primitives), 1e-12)
    gradients = torch.autograd.grad(found, (coordinates, primitives), upstream)
    plain = factorised_embedding_reference(ids[ids != 4], coordinates, primitives)
    wanted = torch.autograd.grad(plain, (coordinates, primitives), upstream.reshape(4, 7)[:2])
    agree(gradients[0].to_dense(), wanted[0], 1e-12)
    agree(gradients[1], wanted[1], 1e-12)


def test_gradient_may_be_dense() -> None:
    ids, coordinates, primitives, upstream = make(20, 9, 3, 7)
    thin, dense = (
        torch.autograd.grad(
            factorised_embedding(ids, coordinates, primitives, sparse=sparse), coordinates, upstream
        )[0]
        for sparse in (True, False)
    )
    assert thin.is_sparse and not dense.is_sparse
    assert torch.equal(thin.to_dense(), dense)
