from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from polycompress.errors import InputError
from polycompress.modeldir import comparing, rawio, slices
from polycompress.modeldir.header import encode_header
from polycompress.modeldir.slices import encode_value
from polycompress.modeldir.tensors import (
    DTYPE_BITS,
    RowSlice,
    compare_others,
    compare_rows,
    open_checkpoint,
    read_rows,
    read_tensor,
    sha256_file,
    write_sliced,
    write_tensors,
)
from tests.modeldir.helpers import entry, load_raw, random_bytes, raw_file, save, save_shards


def floats(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def ids(*rows: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers so small that every way through the code is taken."""
    monkeypatch.setattr(slices, "BUFFER_BYTES", 64)
    monkeypatch.setattr(slices, "GAP_BYTES", 16)
    monkeypatch.setattr(comparing, "BLOCK_BYTES", 48)


# Opening


def test_a_single_file_is_opened(tmp_path: Path) -> None:
    save(tmp_path, {"b": floats(3, 2), "a": np.arange(4)})
    ckpt = open_checkpoint(tmp_path)
    assert ckpt.files == ("model.safetensors",)
    assert ckpt.index is None
    assert {name: (info.dtype, info.shape) for name, info in ckpt.tensors.items()} == {
        "a": ("I64", (4,)),
        "b": ("F32", (3, 2)),
    }
    assert ckpt.metadata == {"model.safetensors": {"format": "pt"}}
    assert np.array_equal(read_tensor(ckpt, "b"), floats(3, 2))


def test_shards_are_opened_through_their_index(tmp_path: Path) -> None:
    save_shards(tmp_path, {"a": floats(3)}, {"b": floats(2, seed=1)})
    ckpt = open_checkpoint(tmp_path)
    assert ckpt.files == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert ckpt.tensors["b"].file == ckpt.files[1]
    assert np.array_equal(read_tensor(ckpt, "b"), floats(2, seed=1))


def edit_index(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.pop("weight_map"), "'weight_map' must map tensor names to files"),
        (lambda index: index.update(weight_map={}), "'weight_map' must map"),
        (lambda index: index.update(metadata=[1]), "'metadata' must be an object"),
        (
            lambda index: index["weight_map"].update(a="../evil.safetensors"),
            r"'a' into '../evil.safetensors'",
        ),
        (lambda index: index["weight_map"].update(a="/etc/passwd.safetensors"), "puts tensor 'a' into"),
        (lambda index: index["weight_map"].update(a="sub/x.safetensors"), "puts tensor 'a' into"),
        (lambda index: index["weight_map"].update(a="pytorch_model.bin"), "puts tensor 'a' into"),
        (lambda index: index["weight_map"].update(a=7), "puts tensor 'a' into 7"),
        (
            lambda index: index["weight_map"].update(a="gone.safetensors"),
            "gone.safetensors: this shard.* is missing",
        ),
        (
            lambda index: index["weight_map"].update(c=index["weight_map"]["a"]),
            "names tensor 'c', which .* does not hold",
        ),
        (lambda index: index["weight_map"].update(a=index["weight_map"]["b"]), "puts tensor 'a' into"),
    ],
)
def test_a_faulty_index_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    save_shards(tmp_path, {"a": floats(3), "z": floats(1)}, {"b": floats(2)})
    edit_index(tmp_path, change)
    with pytest.raises(InputError, match=message):
        open_checkpoint(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    save_shards(tmp_path, {"a": floats(3), "c": floats(1)}, {"b": floats(2), "a": floats(3)})
    with pytest.raises(InputError, match="tensor 'a' also stands in model-00001"):
        open_checkpoint(tmp_path)


def test_a_shard_that_is_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "outside", {"a": floats(3)})
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").symlink_to(tmp_path / "outside" / "model.safetensors")
    with pytest.raises(InputError, match="is a link that leaves the model directory"):
        open_checkpoint(tmp_path / "model")


def test_a_directory_without_weights_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither model.safetensors nor model.safetensors.index.json"):
        open_checkpoint(tmp_path)
    with pytest.raises(InputError, match="no such directory"):
        open_checkpoint(tmp_path / "absent")
    save(tmp_path, {"a": floats(1)}, "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"has adapter_model.safetensors but neither .* merged"):
        open_checkpoint(tmp_path)


def test_an_empty_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(encode_header([], {}))
    with pytest.raises(InputError, match="hold no tensors"):
        open_checkpoint(tmp_path)


def test_pickled_weights_are_refused_with_a_command_that_converts_them(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"has pytorch_model.bin but no model.safetensors") as caught:
        open_checkpoint(tmp_path)
    program, option, source, old, new = shlex.split(str(caught.value).splitlines()[-1])
    assert (program, option, old, new) == ("python", "-c", str(tmp_path), f"{tmp_path}-safetensors")
    compile(source, "converter", "exec")


@pytest.mark.slow
def test_the_command_that_converts_pickled_weights_works(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=11, **sizes))
    root = tmp_path / "old model"
    model.save_pretrained(root)
    (root / "model.safetensors").unlink()
    torch.save(model.state_dict(), root / "pytorch_model.bin")
    (root / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        open_checkpoint(root)
    command = shlex.split(str(caught.value).splitlines()[-1])
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, timeout=120)
    converted = open_checkpoint(tmp_path / "old model-safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    assert np.array_equal(read_tensor(converted, name), model.state_dict()[name].numpy())
    assert (converted.root / "tokenizer.json").exists()


# Slices


@pytest.mark.parametrize("keep", [[0, 2, 1], [0, 0], [-1, 2]])
def test_rows_must_increase(keep: list[int]) -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        RowSlice(0, ids(*keep))


def test_slices_are_checked_against_the_tensor(tmp_path: Path) -> None:
    ckpt = open_checkpoint(save(tmp_path, {"a": floats(3, 2)}))
    with pytest.raises(ValueError, match="'a' has 3 rows on axis 0, row 3 is kept"):
        list(read_rows(ckpt, "a", RowSlice(0, ids(1, 3))))
    with pytest.raises(ValueError, match="has no axis 2"):
        list(read_rows(ckpt, "a", RowSlice(2, ids(0))))
    with pytest.raises(ValueError, match="keep must be a list of row numbers"):
        RowSlice(0, np.zeros((1, 1), np.int64))
    with pytest.raises(ValueError, match="must not be negative"):
        RowSlice(0, ids(0), pad=-1)
    with pytest.raises(ValueError, match=r"no such tensor in .*: b"):
        write_sliced(ckpt, tmp_path, {"b": RowSlice(0, ids(0))})


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    data=st.data(),
    dtype=st.sampled_from(["<f4", "<u2", "<f8", "i1"]),
)
@pytest.mark.usefixtures("small_buffers")
def test_any_rows_of_any_axis_are_what_numpy_takes(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], data: st.DataObject, dtype: str
) -> None:
    root = tmp_path_factory.mktemp("model")
    array = np.frombuffer(random_bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    keep = np.array(sorted(data.draw(st.sets(st.integers(0, shape[axis] - 1)))), np.int64)
    pad = data.draw(st.integers(0, 3))
    chosen = RowSlice(axis, keep, pad=pad, fill=0 if dtype == "i1" else 2.0)
    ckpt = open_checkpoint(
        save(root, {"x": np.nan_to_num(array) if dtype == "i1" else array, "y": array[:1]})
    )
    padding = np.full((*shape[:axis], pad, *shape[axis + 1 :]), chosen.fill, dtype)
    expected = np.concatenate([np.take(array, keep, axis), padding], axis)
    assert b"".join(read_rows(ckpt, "x", chosen)) == expected.tobytes()

    out = root / "out"
    out.mkdir()
    write_sliced(ckpt, out, {"x": chosen})
    written = load_file(out / "model.safetensors")
    assert written["x"].shape == expected.shape
    assert written["x"].tobytes() == expected.tobytes()
    assert written["y"].tobytes() == array[:1].tobytes()
    (check,) = compare_rows(ckpt, open_checkpoint(out), {"x": chosen})
    assert (check.rows, check.identical, check.first_difference, check.padding_ok) == (
        len(keep),
        len(keep),
        None,
        True,
    )


def test_rows_longer_than_the_buffer_are_read_in_pieces(tmp_path: Path, small_buffers: None) -> None:
    array = floats(5, 100)
    ckpt = open_checkpoint(save(tmp_path, {"x": array}))
    chosen = RowSlice(0, ids(1, 4), pad=1, fill=-1e4)
    blocks = list(read_rows(ckpt, "x", chosen))
    assert max(map(len, blocks)) <= 64
    assert b"".join(blocks) == array[[1, 4]].tobytes() + np.full(100, -1e4, np.float32).tobytes()
    (tmp_path / "out").mkdir()
    write_sliced(ckpt, tmp_path / "out", {"x": chosen})
    assert compare_rows(ckpt, open_checkpoint(tmp_path / "out"), {"x": chosen})[0].passed


@pytest.mark.parametrize("dtype", [dtype for dtype, bits in DTYPE_BITS.items() if bits % 8 == 0])
def test_every_type_is_carried_bit_by_bit(tmp_path: Path, dtype: str) -> None:
    width = DTYPE_BITS[dtype] // 8
    table, other = random_bytes(7 * 3 * width), random_bytes(5 * width, seed=1)
    entries = {
        "t": entry(dtype, [7, 3], 0, len(table)),
        "o": entry(dtype, [5], len(table), len(table) + len(other)),
    }
    (tmp_path / "model.safetensors").write_bytes(
        raw_file(entries, table + other, metadata={"format": "pt", "é": "ü"})
    )
    (tmp_path / "out").mkdir()
    ckpt = open_checkpoint(tmp_path)
    write_sliced(ckpt, tmp_path / "out", {"t": RowSlice(0, ids(0, 2, 3, 6))})
    kept = b"".join(table[row * 3 * width : (row + 1) * 3 * width] for row in (0, 2, 3, 6))
    assert load_raw(tmp_path / "out" / "model.safetensors") == {
        "t": (dtype, (4, 3), kept),
        "o": (dtype, (5,), other),
    }
    assert open_checkpoint(tmp_path / "out").metadata["model.safetensors"] == {"format": "pt", "é": "ü"}
    assert read_tensor(ckpt, "o").tobytes() == other


def test_types_below_a_byte_are_carried_but_not_sliced(tmp_path: Path) -> None:
    entries = {"t": entry("F32", [4], 0, 16), "q": entry("F4", [4, 2], 16, 20)}
    (tmp_path / "model.safetensors").write_bytes(raw_file(entries, random_bytes(20)))
    ckpt = open_checkpoint(tmp_path)
    (tmp_path / "out").mkdir()
    write_sliced(ckpt, tmp_path / "out", {"t": RowSlice(0, ids(1))})
    assert load_raw(tmp_path / "out" / "model.safetensors")["q"] == ("F4", (4, 2), random_bytes(20)[16:])
    assert read_tensor(ckpt, "q").tobytes() == random_bytes(20)[16:]
    with pytest.raises(InputError, match="tensor 'q' of type F4 packs several values into a byte"):
        list(read_rows(ckpt, "q", RowSlice(0, ids(1))))


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("F32", -1e4, np.float32(-1e4).tobytes()),
        ("F64", -1e4, np.float64(-1e4).tobytes()),
        ("F16", -1e4, np.float16(-1e4).tobytes()),
        ("BF16", -1e4, (0xC61C).to_bytes(2, "little")),
        ("BF16", 1.0, (0x3F80).to_bytes(2, "little")),
        ("BF16", 1.00390625, (0x3F80).to_bytes(2, "little")),  # half way: to even
        ("BF16", 1.01171875, (0x3F82).to_bytes(2, "little")),  # half way: to even, upwards
        ("BF16", float("inf"), (0x7F80).to_bytes(2, "little")),
        ("F8_E4M3", 0.0, b"\0"),
        ("F8_E5M2", 0.0, b"\0"),
        ("I8", -3.0, b"\xfd"),
        ("BOOL", 1.0, b"\1"),
    ],
)
def test_values_are_encoded_in_the_type(dtype: str, value: float, expected: bytes) -> None:
    assert encode_value(dtype, value) == expected


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("F8_E4M3", 1.0), ("F8_E8M0", 0.0), ("F4", 0.0), ("F16", 1e6), ("I8", 200.0), ("U8", 0.5)],
)
def test_values_a_type_does_not_have_are_refused(dtype: str, value: float) -> None:
    with pytest.raises(ValueError, match=dtype):
        encode_value(dtype, value)


def test_padding_that_cannot_be_encoded_names_the_tensor(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(raw_file({"bias": entry("F8_E4M3", [4], 0, 4)}, b"1234"))
    ckpt = open_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"tensor 'bias': a row of -10000.0 cannot be added .* F8_E4M3"):
        list(read_rows(ckpt, "bias", RowSlice(0, ids(1), pad=1, fill=-1e4)))


# Writing


def test_only_shards_that_change_are_written_anew(tmp_path: Path) -> None:
    root = save_shards(
        tmp_path / "a", {"emb": floats(6, 4), "x": floats(2)}, {"y": floats(5)}, {"z": floats(3)}
    )
    (tmp_path / "b").mkdir()
    seen: list[int] = []
    ckpt = open_checkpoint(root)
    report = write_sliced(
        ckpt, tmp_path / "b", {"emb": RowSlice(0, ids(1, 4))}, drop=["z"], progress=seen.append
    )
    first, second, third = ckpt.files
    assert (report.sliced, report.copied, report.omitted) == ((first,), (second,), (third,))
    assert (report.nbytes, report.parameters) == (4 * (8 + 2 + 5), 15)
    assert (tmp_path / "b" / second).read_bytes() == (root / second).read_bytes()
    assert not (tmp_path / "b" / third).exists()
    assert sum(seen) == 4 * (8 + 2) + (root / second).stat().st_size
    index = json.loads((tmp_path / "b" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 60, "total_parameters": 15, "extra": "kept"}
    assert list(index["weight_map"]) == ["emb", "x", "y"]
    again = open_checkpoint(tmp_path / "b")
    assert np.array_equal(read_tensor(again, "emb"), floats(6, 4)[[1, 4]])


def test_unchanged_files_can_be_linked(tmp_path: Path) -> None:
    root = save_shards(tmp_path / "a", {"emb": floats(6, 4)}, {"y": floats(5)})
    (tmp_path / "b").mkdir()
    report = write_sliced(open_checkpoint(root), tmp_path / "b", {"emb": RowSlice(0, ids(1))}, link=True)
    assert report.linked == ("model-00002-of-00002.safetensors",)
    assert (root / report.linked[0]).samefile(tmp_path / "b" / report.linked[0])
    assert not (root / report.sliced[0]).samefile(tmp_path / "b" / report.sliced[0])


def test_linking_falls_back_to_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "other disk")

    monkeypatch.setattr(os, "link", refuse)
    root = save(tmp_path / "a", {"y": floats(5)})
    (tmp_path / "b").mkdir()
    report = write_sliced(open_checkpoint(root), tmp_path / "b", {}, link=True)
    assert (report.copied, report.linked) == (("model.safetensors",), ())
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (root / "model.safetensors").read_bytes()


@pytest.mark.parametrize("missing", [[], ["copy_file_range"], ["copy_file_range", "sendfile"]])
def test_copies_fall_back_until_one_way_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    for name in missing:
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(rawio, "COPY_CHUNK_BYTES", 1000)
    root = save(tmp_path / "a", {"x": floats(3, 3), "emb": floats(9, 5), "y": floats(900), "z": floats(4)})
    (tmp_path / "b").mkdir()
    write_sliced(open_checkpoint(root), tmp_path / "b", {"emb": RowSlice(0, ids(2, 3))}, drop=["z"])
    expected = load_raw(root / "model.safetensors")
    expected["emb"] = ("F32", (2, 5), floats(9, 5)[2:4].tobytes())
    del expected["z"]
    assert load_raw(tmp_path / "b" / "model.safetensors") == expected


def test_an_order_that_would_put_a_tensor_out_of_alignment_is_changed(tmp_path: Path) -> None:
    entries = {"bias": entry("F16", [4], 0, 8), "weight": entry("F32", [2], 8, 16)}
    (tmp_path / "model.safetensors").write_bytes(raw_file(entries, random_bytes(16)))
    (tmp_path / "out").mkdir()
    write_sliced(open_checkpoint(tmp_path), tmp_path / "out", {"bias": RowSlice(0, ids(0, 1, 3))})
    written = open_checkpoint(tmp_path / "out").tensors
    assert all(info.begin % info.itemsize == 0 for info in written.values())
    assert load_raw(tmp_path / "out" / "model.safetensors")["weight"][2] == random_bytes(16)[8:]


def test_a_file_truncated_after_opening_is_noticed(tmp_path: Path) -> None:
    ckpt = open_checkpoint(save(tmp_path, {"x": floats(100, 4)}))
    os.truncate(tmp_path / "model.safetensors", 500)
    with pytest.raises(InputError, match=r"model.safetensors: ends at byte 500"):
        list(read_rows(ckpt, "x", RowSlice(0, ids(1, 99))))
    with pytest.raises(InputError, match="truncated or was changed"):
        read_tensor(ckpt, "x")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="truncated or was changed"):
        write_sliced(ckpt, tmp_path / "out", {"x": RowSlice(0, np.arange(99))})


def test_an_existing_file_is_never_written_over(tmp_path: Path) -> None:
    ckpt = open_checkpoint(save(tmp_path, {"x": floats(2)}))
    with pytest.raises(FileExistsError):
        write_sliced(ckpt, tmp_path, {})
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "model.safetensors", {})


def test_new_files_are_streamed(tmp_path: Path) -> None:
    array = floats(4, 3)

    def pieces() -> Iterator[NDArray[np.float32]]:
        yield from (array[:1], array[1:1], array[1:])

    write_tensors(
        tmp_path / "x.safetensors",
        {
            "flags": ("BOOL", (3,), b"\0\1\0"),
            "a": ("F32", (4, 3), pieces()),
            "turned": ("F32", (3, 4), array.T),
            "raw": ("BF16", (2,), np.array([1, 2], np.uint16)),
            "none": ("F32", (0, 3), np.zeros((0, 3), np.float32)),
            "scalar": ("F64", (), [bytes(4), memoryview(bytes(4))]),
        },
        {"format": "pt"},
    )
    read = load_raw(tmp_path / "x.safetensors")
    assert read["a"] == ("F32", (4, 3), array.tobytes())
    assert read["turned"] == ("F32", (3, 4), array.T.tobytes())
    assert read["flags"] == ("BOOL", (3,), b"\0\1\0")
    assert read["none"] == ("F32", (0, 3), b"")
    assert read["scalar"] == ("F64", (), bytes(8))
    with pytest.raises(ValueError, match="tensor 'a': 3 bytes of data for a shape of 4 bytes"):
        write_tensors(tmp_path / "y.safetensors", {"a": ("F32", (1,), b"123")})
    with pytest.raises(ValueError, match="unknown tensor type 'F31'"):
        write_tensors(tmp_path / "z.safetensors", {"a": ("F31", (1,), b"123")})


# Comparing


@pytest.fixture
def trimmed(tmp_path: Path, small_buffers: None) -> tuple[Path, Path, dict[str, RowSlice]]:
    root = save(tmp_path / "a", {"emb": floats(50, 4), "bias": floats(3, 50), "other": floats(30)})
    chosen = {
        "emb": RowSlice(0, ids(0, 3, 17, 18, 49), pad=2),
        "bias": RowSlice(1, ids(0, 3, 17, 18, 49), 2, -1e4),
    }
    (tmp_path / "b").mkdir()
    write_sliced(open_checkpoint(root), tmp_path / "b", chosen)
    return root, tmp_path / "b", chosen


def flip(root: Path, name: str, byte: int) -> None:
    """Change one bit of a tensor."""
    path = root / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[open_checkpoint(root).tensors[name].begin + byte] ^= 1
    path.write_bytes(raw)


def test_equal_rows_pass(trimmed: tuple[Path, Path, dict[str, RowSlice]]) -> None:
    source, out, chosen = trimmed
    checks = compare_rows(open_checkpoint(source), open_checkpoint(out), chosen)
    assert [(check.name, check.rows, check.identical, check.padding_ok) for check in checks] == [
        ("emb", 5, 5, True),
        ("bias", 5, 5, True),
    ]
    assert compare_others(open_checkpoint(source), open_checkpoint(out), chosen) == ()


@given(byte=st.integers(0, 5 * 16 - 1), side=st.booleans())
def test_any_flipped_bit_of_a_kept_row_is_found(
    tmp_path_factory: pytest.TempPathFactory, byte: int, side: bool
) -> None:
    root = tmp_path_factory.mktemp("flip")
    save(root / "a", {"emb": floats(50, 4)})
    keep = ids(0, 3, 17, 18, 49)
    (root / "b").mkdir()
    write_sliced(open_checkpoint(root / "a"), root / "b", {"emb": RowSlice(0, keep)})
    row = byte // 16
    flip(*((root / "a", "emb", int(keep[row]) * 16 + byte % 16) if side else (root / "b", "emb", byte)))
    (check,) = compare_rows(
        open_checkpoint(root / "a"), open_checkpoint(root / "b"), {"emb": RowSlice(0, keep)}
    )
    assert (check.identical, check.first_difference, check.passed) == (4, row, False)


def test_a_flipped_bit_on_another_axis_is_found(trimmed: tuple[Path, Path, dict[str, RowSlice]]) -> None:
    source, out, chosen = trimmed
    flip(out, "bias", 4 * (7 * 2 + 3))  # the last of three groups of seven, its fourth row
    _, check = compare_rows(open_checkpoint(source), open_checkpoint(out), chosen)
    assert (check.identical, check.first_difference, check.padding_ok) == (4, 3, True)


def test_wrong_padding_is_found(trimmed: tuple[Path, Path, dict[str, RowSlice]]) -> None:
    source, out, chosen = trimmed
    flip(out, "emb", 4 * 4 * 5 + 31)
    flip(out, "bias", 4 * 5)
    checks = compare_rows(open_checkpoint(source), open_checkpoint(out), chosen)
    assert [(check.identical, check.padding_ok, check.passed) for check in checks] == [(5, False, False)] * 2


def test_other_shapes_types_and_missing_tensors_differ_in_every_row(
    trimmed: tuple[Path, Path, dict[str, RowSlice]], tmp_path: Path
) -> None:
    source, out, _ = trimmed
    wrong = {"emb": RowSlice(0, ids(0, 3, 17, 18), pad=2)}
    (check,) = compare_rows(open_checkpoint(source), open_checkpoint(out), wrong)
    assert (check.identical, check.first_difference, check.padding_ok) == (0, 0, False)
    other = open_checkpoint(save(tmp_path / "c", {"other": floats(30).astype(np.float64), "more": floats(1)}))
    (check,) = compare_rows(open_checkpoint(source), other, {"emb": RowSlice(0, ids(1))})
    assert not check.passed
    assert compare_others(open_checkpoint(source), other, {"emb": RowSlice(0, ids(1))}) == (
        "bias",
        "more",
        "other",
    )


def test_a_changed_tensor_outside_the_slices_is_found(
    trimmed: tuple[Path, Path, dict[str, RowSlice]],
) -> None:
    source, out, chosen = trimmed
    flip(out, "other", 119)
    assert compare_others(open_checkpoint(source), open_checkpoint(out), chosen) == ("other",)
    assert compare_others(open_checkpoint(source), open_checkpoint(source), {}) == ()


# Cost


def test_memory_stays_bounded_and_gaps_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:  # a sparse file: 4 GiB that take no room
        file.write(encode_header([("emb", "F32", (1 << 20, 1024), 1 << 32)], {}))
        file.truncate(file.tell() + (1 << 32))
    ckpt = open_checkpoint(tmp_path)
    asked: list[int] = []
    real = rawio.read_into
    monkeypatch.setattr(
        slices, "read_into", lambda fd, buffer, *rest: (asked.append(len(buffer)), real(fd, buffer, *rest))
    )
    chosen = RowSlice(0, np.arange(0, 1 << 20, 1 << 12))
    (tmp_path / "out").mkdir()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_sliced(ckpt, tmp_path / "out", {"emb": chosen})
    assert compare_rows(ckpt, open_checkpoint(tmp_path / "out"), {"emb": chosen})[0].passed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB
    assert asked == [4096] * 256


def test_neighbouring_rows_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ckpt = open_checkpoint(save(tmp_path, {"emb": floats(1000, 8)}))
    asked: list[int] = []
    real = rawio.read_into
    monkeypatch.setattr(
        slices, "read_into", lambda fd, buffer, *rest: (asked.append(len(buffer)), real(fd, buffer, *rest))
    )
    keep = np.arange(0, 1000, 3)
    assert b"".join(read_rows(ckpt, "emb", RowSlice(0, keep))) == floats(1000, 8)[keep].tobytes()
    assert len(asked) == 1


def test_importing_is_cheap() -> None:
    code = (
        "import sys, polycompress.modeldir.tensors, polycompress.modeldir.atomic, polycompress.modeldir.card;"
        "print([name for name in ('yaml', 'typer', 'rich', 'torch', 'safetensors', 'tokenizers', "
        "'huggingface_hub') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert result.stdout.strip() == "[]"


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError, match="is not a regular file"):
        sha256_file(tmp_path)
