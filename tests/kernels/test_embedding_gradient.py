from __future__ import annotations

import subprocess
import sys

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from polycompress.errors import InputError, MissingExtraError
from polycompress.kernels import choosing
from polycompress.kernels.embedding_gradient import (
    SparseEmbedding,
    embedding_gradient,
    merge_rows,
    sparse_embedding,
)
from tests.kernels.triton_tools import (
    ARCHITECTURES,
    ROOT,
    compile_kernel,
    gpu,
    needs_triton,
    poisoned_memory,
    run_interpreted,
)

SHAPES = [(1, 1), (1, 7), (5, 3), (64, 16), (65, 33), (300, 5), (129, 257)]
TYPES = [torch.float32, torch.bfloat16, torch.float16]


def zipf(amount: int, rows: int, seed: int = 0) -> Tensor:
    """Ids of which a few come very often and most once."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(amount, generator=generator, dtype=torch.float64) ** 6 * rows).long()


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(ids: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """The dense gradient in float64, of which the touched rows are taken."""
    rows = torch.tensor(sorted(set(ids.tolist())), dtype=torch.int64)
    dense = torch.zeros(int(ids.max()) + 1 if ids.numel() else 0, upstream.shape[1], dtype=torch.float64)
    for place, row in enumerate(ids.tolist()):
        dense[row] += upstream[place].double()
    return rows, dense[rows]


def check(ids: Tensor, upstream: Tensor, impl: str) -> None:
    rows, sums = embedding_gradient(ids, upstream, impl=impl)
    wanted_rows, wanted = truth(ids.cpu(), upstream.cpu())
    assert rows.dtype == torch.int64
    assert sums.dtype == (torch.float64 if upstream.dtype == torch.float64 else torch.float32)
    assert torch.equal(rows.cpu(), wanted_rows)
    # The upstream's rounding happened before; what is left is the rounding of float32 sums.
    magnitude = float(upstream.double().abs().sum(0).max()) if upstream.numel() else 0.0
    torch.testing.assert_close(sums.cpu().double(), wanted, rtol=1e-6, atol=2e-7 * magnitude)


def check_all(device: str, impl: str) -> None:
    with poisoned_memory():
        for amount, width in SHAPES:
            for kind in TYPES:
                for ids_kind in (torch.int32, torch.int64):
                    ids = zipf(amount, 50).to(ids_kind).to(device)
                    check(ids, values(amount, width).to(kind).to(device), impl)


def check_ugly(device: str, impl: str) -> None:
    with poisoned_memory():
        ids = zipf(600, 30).to(device)
        wide = values(600, 40).float().to(device)
        check(ids, wide[:, 1:38:2], impl)  # a view with gaps
        check(ids[:40], wide.t()[:40, :600][:, :9], impl)  # transposed
        check(ids[::3], wide[::3], impl)
        check(ids[:5], wide[:1].expand(5, 40), impl)  # stride 0, as a sum's backward gives
        check(torch.full((333,), 4, device=device), wide[:333], impl)  # one row, many chunks
        check(torch.arange(200, device=device).flip(0), wide[:200], impl)  # all distinct
        # integers: sums of duplicates are exact
        counted = torch.ones(600, 3, device=device)
        rows, sums = embedding_gradient(ids, counted, impl=impl)
        assert torch.equal(sums[:, 0].long(), torch.bincount(ids)[rows])


def check_deterministic(device: str, impl: str) -> None:
    ids = zipf(500, 20).to(device)
    upstream = values(500, 24).float().to(device)
    first = embedding_gradient(ids, upstream, impl=impl)
    second = embedding_gradient(ids, upstream, impl=impl)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].view(torch.int32), second[1].view(torch.int32))


def body_shapes(device: str) -> None:
    # The interpreter computes in float32 what is loaded as bfloat16, so the types are the real ones.
    check_all(device, "triton")


def body_ugly(device: str) -> None:
    check_ugly(device, "triton")


def body_deterministic(device: str) -> None:
    check_deterministic(device, "triton")


def body_lookup(device: str) -> None:
    table = values(40, 6).float().to(device).requires_grad_()
    ids = zipf(130, 40).view(13, 10).to(device)
    sparse_embedding(ids, table, padding_idx=1, impl="triton").square().sum().backward()
    other = table.detach().clone().requires_grad_()
    nn.functional.embedding(ids, other, padding_idx=1).square().sum().backward()
    torch.testing.assert_close(table.grad.to_dense(), other.grad, rtol=1e-5, atol=1e-5)


BODIES = [body_shapes, body_ugly, body_deterministic, body_lookup]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_reference_agrees_with_the_dense_gradient_in_float64(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    check_all(device, "reference")
    check_ugly(device, "reference")
    check_deterministic(device, "reference")


@given(
    ids=st.lists(st.integers(0, 12), max_size=40),
    width=st.integers(0, 9),
    kind=st.sampled_from([*TYPES, torch.float64]),
)
def test_reference_for_any_ids(ids: list[int], width: int, kind: torch.dtype) -> None:
    check(torch.tensor(ids, dtype=torch.int64), values(len(ids), width).to(kind), "reference")


@needs_triton
def test_triton_interpreted() -> None:
    run_interpreted(*BODIES)


@gpu
@pytest.mark.parametrize("body", BODIES)
def test_triton_on_a_gpu(body) -> None:  # noqa: ANN001
    body("cuda")


@gpu
def test_many_tokens_on_a_gpu() -> None:
    ids = zipf(100_000, 250_000).to("cuda")
    upstream = values(100_000, 768).float().to("cuda")
    rows, sums = embedding_gradient(ids, upstream, impl="triton")
    others, wanted = embedding_gradient(ids.cpu(), upstream.cpu().double())
    assert torch.equal(rows.cpu(), others)
    torch.testing.assert_close(sums.cpu().double(), wanted, rtol=1e-5, atol=1e-3)


@needs_triton
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_compiles_without_a_gpu(architecture: int, kind: str) -> None:
    from polycompress.kernels.embedding_gradient import kernel

    compile_kernel(
        kernel._embedding_gradient_chunk_kernel,
        {
            "upstream": f"*{kind}",
            "order": "*i64",
            "begins": "*i64",
            "targets": "*i64",
            "sums": "*fp32",
            "parts": "*fp32",
            "width": "i32",
            "stride_n": "i64",
            "stride_d": "i64",
        },
        {"POSITIONS": 8, "COLUMNS": 256},
        architecture,
    )
    if kind == "fp32":  # the parts always are
        compile_kernel(
            kernel._embedding_gradient_join_kernel,
            {
                "parts": "*fp32",
                "targets": "*i64",
                "run_begins": "*i64",
                "sums": "*fp32",
                "width": "i32",
            },
            {"CHUNKS": 8, "COLUMNS": 256},
            architecture,
        )


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_empty_inputs(shape: tuple[int, int]) -> None:
    ids = torch.arange(shape[0], dtype=torch.int32)
    rows, sums = embedding_gradient(ids, torch.zeros(shape))
    assert rows.tolist() == ids.tolist()
    assert rows.dtype == torch.int64
    assert sums.shape == shape


def test_input_errors() -> None:
    ids = torch.tensor([1, 2])
    with pytest.raises(InputError, match=r"ids must be \(N,\) int32 or int64, got \(2,\) torch.float32"):
        embedding_gradient(ids.float(), torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"ids must be \(N,\).*got \(1, 2\)"):
        embedding_gradient(ids[None], torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"\(N, d\) with N = 2 as in ids, got \(3, 3\)"):
        embedding_gradient(ids, torch.zeros(3, 3))
    with pytest.raises(InputError, match=r"upstream must be floating, got torch.int64"):
        embedding_gradient(ids, torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="id -3 is negative"):
        embedding_gradient(torch.tensor([1, -3]), torch.zeros(2, 3))
    with pytest.raises(InputError, match="impl='quick' is unknown"):
        embedding_gradient(ids, torch.zeros(2, 3), impl="quick")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tensors are on cpu and meta"):
        embedding_gradient(ids, torch.zeros(2, 3, device="meta"))


def test_triton_asked_for_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(choosing, "triton_installed", lambda: True)
    with pytest.raises(InputError, match="needs CUDA tensors, these are on cpu"):
        embedding_gradient(torch.tensor([1]), torch.zeros(1, 3), impl="triton")
    monkeypatch.setattr(choosing, "triton_installed", lambda: False)
    with pytest.raises(MissingExtraError, match=r"polycompress\[gpu\]"):
        embedding_gradient(torch.tensor([1]), torch.zeros(1, 3), impl="triton")


def test_the_cpu_never_imports_triton() -> None:
    code = """
import sys, torch
from polycompress.kernels.embedding_gradient import embedding_gradient
embedding_gradient(torch.tensor([1, 1]), torch.ones(2, 3))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_gradient_of_the_lookup_in_float64() -> None:
    table = values(7, 3).requires_grad_()
    ids = torch.tensor([[2, 0, 2], [6, 2, 0]])

    def lookup(dense: Tensor) -> Tensor:
        return sparse_embedding(ids, dense)

    # gradcheck wants dense gradients, so the sparse one is made dense at the leaf.
    class Dense(torch.autograd.Function):
        @staticmethod
        def forward(ctx, given):  # noqa: ANN001, ANN205
            return given.clone()

        @staticmethod
        def backward(ctx, upstream):  # noqa: ANN001, ANN205
            return upstream.to_dense()

    assert torch.autograd.gradcheck(lambda given: lookup(Dense.apply(given)) * 3, (table,))


@pytest.mark.parametrize("ids_kind", [torch.int32, torch.int64])
@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("shape", [(4, 5), (3,), (), (0, 2)])
def test_module_is_an_embedding(shape: tuple[int, ...], padding: int | None, ids_kind: torch.dtype) -> None:
    dense = nn.Embedding(11, 6, padding_idx=padding)
    sparse = SparseEmbedding.sharing(dense)
    assert sparse.weight is dense.weight
    assert sparse.row_tables() == (dense.weight,)
    ids = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(1)).to(ids_kind)
    upstream = values(*shape, 6).float()
    found = sparse(ids)
    assert torch.equal(found, dense(ids))
    found.backward(upstream)
    gradient = sparse.weight.grad
    assert gradient.is_sparse
    rows, _ = merge_rows(gradient)
    assert rows.data_ptr() == gradient._indices().data_ptr()  # nothing to merge
    sparse.weight.grad = None
    dense(ids).backward(upstream)
    torch.testing.assert_close(gradient.to_dense(), dense.weight.grad)
    assert list(sparse.state_dict()) == list(dense.state_dict())


def test_micro_batches_add_up() -> None:
    module = SparseEmbedding(30, 4)
    parts = [zipf(20, 30, seed) for seed in range(3)]
    for ids in parts:
        module(ids).sum().backward()
    rows, sums = merge_rows(module.weight.grad)
    wanted_rows, wanted = truth(torch.cat(parts), torch.ones(60, 4))
    assert torch.equal(rows, wanted_rows)
    torch.testing.assert_close(sums.double(), wanted)


def test_bfloat16_table_sums_in_float32() -> None:
    table = torch.zeros(3, 1, dtype=torch.bfloat16).requires_grad_()
    sparse_embedding(torch.full((1000,), 2), table).sum().backward()
    assert table.grad._values().item() == 1000  # in bfloat16 the sum would stay at 256


def test_lookup_under_autocast() -> None:
    module = SparseEmbedding(9, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nn.functional.linear(module(torch.tensor([3, 3, 5])), torch.eye(8)).sum().backward()
    assert module.weight.grad.dtype == torch.float32
    assert module.weight.grad._values().sum(1).tolist() == [16, 8]


def test_ids_outside_the_table() -> None:
    module = SparseEmbedding(5, 2)
    with pytest.raises(InputError, match="id 5 is outside the embedding table, which has rows 0 to 4"):
        module(torch.tensor([0, 5]))
    with pytest.raises(InputError, match="id -1 is outside"):
        module(torch.tensor([0, -1]))
    with pytest.raises(InputError, match="neither max_norm nor scale_grad_by_freq"):
        SparseEmbedding.sharing(nn.Embedding(3, 2, max_norm=1.0))
