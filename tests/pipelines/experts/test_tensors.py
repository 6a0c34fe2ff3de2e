from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polycompress.errors import InputError
from polycompress.modeldir.rewriting import Entry
from polycompress.modeldir.tensors import Checkpoint, open_checkpoint
from polycompress.pipelines.experts.tensors import (
    ROUTER_STD,
    check_floats,
    expert_entry,
    expert_slice,
    mean_entry,
    router_entry,
)

TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}


def checkpoint(root: Path, **tensors: torch.Tensor) -> Checkpoint:
    root.mkdir()
    save_file(tensors, root / "model.safetensors")
    return open_checkpoint(root)


def made(entry: Entry, dtype: torch.dtype) -> torch.Tensor:
    """What an entry's bytes hold."""
    _, shape, data = entry
    pieces = [data] if isinstance(data, np.ndarray) else data
    raw = b"".join(piece.tobytes() if isinstance(piece, np.ndarray) else bytes(piece) for piece in pieces)
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


@pytest.mark.parametrize("name", TYPES)
def test_without_noise_experts_are_bit_copies(name: str, tmp_path: Path) -> None:
    weight = torch.randn(40, 33).to(TYPES[name])
    ckpt = checkpoint(tmp_path / "m", w=weight)
    entry = expert_entry([(ckpt, ckpt.tensors["w"])] * 3, noise=0.0, seed=(0,))
    assert entry[:2] == (name, (3, 40, 33))
    assert all(torch.equal(each, weight) for each in made(entry, TYPES[name]))


@pytest.mark.parametrize("name", TYPES)
def test_noise_is_a_share_of_the_tensor_s_own_deviation(name: str, tmp_path: Path) -> None:
    weight = (3 + 0.5 * torch.randn(600, 1100)).to(TYPES[name])  # several blocks of a megabyte
    ckpt = checkpoint(tmp_path / "m", w=weight)
    stored = [(ckpt, ckpt.tensors["w"])] * 3
    found = made(expert_entry(stored, noise=0.5, seed=(7, 1)), TYPES[name])
    gaps = found.double() - weight.double()
    spread = float(weight.double().std(correction=0))
    assert gaps.flatten(1).std(dim=1).numpy() == pytest.approx(0.5 * spread, rel=0.02)
    assert np.corrcoef(gaps.flatten(1).numpy())[0, 1] == pytest.approx(0, abs=0.01)
    again = made(expert_entry(stored[:2], noise=0.5, seed=(7, 1)), TYPES[name])
    assert torch.equal(again, found[:2])
    assert not torch.equal(made(expert_entry(stored, noise=0.5, seed=(8, 1)), TYPES[name]), found)


def test_noise_is_rounded_once_to_nearest(tmp_path: Path) -> None:
    # torch itself rounds twice, by way of fp32, which shows where a value lies half-way: hence the seed.
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    plain = {name: weight.to(torch.bfloat16).to(TYPES[name]) for name in ("F64", "BF16")}
    exact, rounded = (
        made(expert_entry([(ckpt, ckpt.tensors["w"])], noise=0.1, seed=(3,)), TYPES[name])
        for name in plain
        for ckpt in [checkpoint(tmp_path / name, w=plain[name])]
    )
    assert torch.equal(exact.to(torch.bfloat16), rounded)


def test_a_tensor_of_one_value_gets_no_noise(tmp_path: Path) -> None:
    ckpt = checkpoint(tmp_path / "m", b=torch.zeros(8))
    assert not made(expert_entry([(ckpt, ckpt.tensors["b"])] * 2, noise=0.1, seed=(0,)), torch.float32).any()


def test_what_a_type_cannot_hold_is_refused(tmp_path: Path) -> None:
    ckpt = checkpoint(tmp_path / "m", w=torch.tensor([65504.0, -65504.0], dtype=torch.float16))
    with pytest.raises(InputError, match=r"tensor 'w': a value is larger than the type F16 holds"):
        made(expert_entry([(ckpt, ckpt.tensors["w"])] * 8, noise=1.0, seed=(0,)), torch.float16)
    odd = checkpoint(tmp_path / "odd", w=torch.zeros(2, dtype=torch.float8_e4m3fn))
    with pytest.raises(
        InputError, match=r"Because, but these tensors are of no type.*: w \(F8_E4M3\)\. Take"
    ):
        check_floats([(odd, odd.tensors["w"])], "Because")


def test_a_router_is_drawn_from_its_seed() -> None:
    dtype, shape, weight = router_entry(6, 500, seed=(1, 2))
    assert (dtype, shape) == ("F32", (6, 500))
    assert isinstance(weight, np.ndarray) and weight.dtype == np.float32
    assert weight.std() == pytest.approx(ROUTER_STD, rel=0.05)
    assert np.array_equal(weight, router_entry(6, 500, seed=(1, 2))[2])
    assert not np.array_equal(weight, router_entry(6, 500, seed=(1, 3))[2])


def test_one_expert_s_part(tmp_path: Path) -> None:
    weight = torch.randn(3, 5, 7).to(torch.bfloat16)
    ckpt = checkpoint(tmp_path / "m", a=torch.zeros(3), w=weight)
    info = expert_slice(ckpt.tensors["w"], "plain", 2)
    assert (info.name, info.shape) == ("plain", (5, 7))
    entry = expert_entry([(ckpt, info)], noise=0.0, seed=())
    assert torch.equal(made(entry, torch.bfloat16)[0], weight[2])


@pytest.mark.parametrize("name", TYPES)
def test_means_are_rounded_once_and_what_is_alike_stays(name: str, tmp_path: Path) -> None:
    weights = [torch.randn(600, 1100).to(TYPES[name]) for _ in range(3)]
    stored = [
        (ckpt, ckpt.tensors["w"]) for place, weight in enumerate(weights)
        for ckpt in [checkpoint(tmp_path / str(place), w=weight)]
    ]  # fmt: skip
    wanted = (sum(each.double() for each in weights) / 3).to(TYPES[name])  # type: ignore[union-attr]
    assert torch.equal(made(mean_entry(stored), TYPES[name]), wanted)
    assert torch.equal(made(mean_entry([stored[0]] * 3), TYPES[name]), weights[0])


def test_whole_numbers_are_kept_where_they_agree(tmp_path: Path) -> None:
    one, other = (checkpoint(tmp_path / str(each), n=torch.arange(4) + each) for each in (0, 1))
    same = mean_entry([(one, one.tensors["n"])] * 2)
    assert torch.equal(made(same, torch.int64), torch.arange(4))
    with pytest.raises(
        InputError, match=r"Tensors that differ between the models are averaged, but .*: n \(I64\)"
    ):
        made(mean_entry([(each, each.tensors["n"]) for each in (one, other)]), torch.int64)
