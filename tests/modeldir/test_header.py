from __future__ import annotations

import math
from pathlib import Path

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.modeldir.header import (
    DTYPE_BITS,
    MAX_HEADER_BYTES,
    TensorInfo,
    byte_count,
    encode_header,
    read_header,
)
from tests.modeldir.helpers import entry, raw_file


def check(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_header(path, path.name)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_type_is_written_and_read_as_the_library_does(tmp_path: Path, dtype: str) -> None:
    count = byte_count(dtype, (4, 2))
    data = bytes(range(count))
    raw = encode_header([("weight", dtype, (4, 2), count)], {"format": "pt"}) + data
    ((name, theirs),) = safetensors.deserialize(raw)
    assert (name, theirs["dtype"], theirs["shape"], bytes(theirs["data"])) == ("weight", dtype, [4, 2], data)
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    header = read_header(path, "x.safetensors")
    (info,) = header.tensors
    assert (info.dtype, info.shape, info.file, info.nbytes) == (dtype, (4, 2), "x.safetensors", count)
    assert raw[info.begin : info.end] == data
    assert header.metadata == {"format": "pt"}
    assert info.begin % 8 == 0


def test_types_below_a_byte_have_no_itemsize() -> None:
    assert TensorInfo("a", "BF16", (2,), "f", 0, 4).itemsize == 2
    with pytest.raises(ValueError, match="tensor 'a': a value of type F4 has 4 bits"):
        _ = TensorInfo("a", "F4", (2,), "f", 0, 1).itemsize


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes are too few"),
        (b"1234567", "7 bytes are too few"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "over the limit of 100000000"),
        ((2**63).to_bytes(8, "little") + b"{}", "over the limit"),
        ((100).to_bytes(8, "little") + b"{}", "header length 100 reaches beyond the file's 10 bytes"),
        (raw_file({}, b"", header=b"{oops"), "header is not JSON"),
        (raw_file({}, b"", header=b'{"a\xff": 1}'), "header is not JSON"),
        (raw_file({}, b"", header=b"[" * 90_000), "header is not JSON"),
        (raw_file({}, b"", header=b"[]"), "a JSON list, not an object"),
        (raw_file({}, b"", header=b'{"a": 1, "a": 2}'), "names 'a' twice"),
        (raw_file({}, b"", header=b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "names 'dtype' twice"),
        (raw_file({}, b"", metadata={"a": 1}), "'__metadata__' must map names to strings"),
        (raw_file({}, b"", metadata=["a"]), "'__metadata__' must map names to strings"),
        (raw_file({"w": 1}, b""), "tensor 'w': must be an object"),
        (raw_file({"w": {"dtype": "F32", "shape": []}}, b""), "tensor 'w': must be an object"),
        (raw_file({"w": entry("F33", [1], 0, 4)}, b"1234"), "dtype 'F33' is not one of F64, F32"),
        (raw_file({"w": entry(7, [1], 0, 4)}, b"1234"), "dtype 7 is not one of"),
        (raw_file({"w": entry("F32", [-1], 0, 4)}, b"1234"), r"shape \[-1\] must be a list of non-negative"),
        (raw_file({"w": entry("F32", [1.0], 0, 4)}, b"1234"), r"shape \[1.0\] must be"),
        (raw_file({"w": entry("F32", [True], 0, 4)}, b"1234"), r"shape \[True\] must be"),
        (raw_file({"w": entry("F32", "1", 0, 4)}, b"1234"), "shape '1' must be"),
        (raw_file({"w": entry("F32", [1], -4, 4)}, b"1234"), r"data_offsets \[-4, 4\] must be two"),
        (raw_file({"w": entry("F32", [1], 4, 0)}, b"1234"), "reach beyond the 4 bytes of data"),
        (raw_file({"w": entry("F32", [2], 0, 8)}, b"1234"), "reach beyond the 4 bytes of data in the file"),
        (raw_file({"w": entry("F32", [2], 0, 4)}, b"1234"), r"span 4 bytes, but shape \[2\] of F32 needs 8"),
        (raw_file({"w": entry("F32", [2**40, 2**40], 0, 4)}, b"1234"), "span 4 bytes"),
        (raw_file({"w": entry("F4", [3], 0, 2)}, b"12"), "no whole number of bytes"),
        (
            raw_file({"w": entry("F32", [1], 0, 4)}, b"12345678"),
            "the tensors end at byte .* 4 bytes that belong",
        ),
        (
            raw_file({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 2, 6)}, b"123456"),
            "'b' begins at byte .* and overlaps 'a'",
        ),
        (
            raw_file({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, b"123456789012"),
            "'b' begins at byte .* and leaves a hole after 'a'",
        ),
        (raw_file({"a": entry("F32", [1], 4, 8)}, b"12345678"), "leaves a hole after the header"),
    ],
)
def test_a_broken_header_is_refused_with_file_and_field(tmp_path: Path, content: bytes, message: str) -> None:
    check(tmp_path, content, message)


def test_a_pipe_or_a_directory_is_refused_at_once(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(InputError, match="is not a regular file"):
            read_header(tmp_path / name, name)
    with pytest.raises(InputError, match="no such file"):
        read_header(tmp_path / "absent", "absent")


def test_empty_tensors_and_null_metadata_are_sound(tmp_path: Path) -> None:
    path = tmp_path / "a"
    entries = {"b": entry("F32", [1], 0, 4), "a": entry("F32", [0, 3], 0, 0), "c": entry("I8", [], 4, 5)}
    text = b'{"__metadata__": null, ' + raw_file(entries, b"")[9:]
    path.write_bytes(raw_file({}, b"12345", header=text))
    header = read_header(path, "a")
    assert [info.name for info in header.tensors] == ["a", "b", "c"]
    assert header.metadata == {}


@given(st.binary(max_size=200))
def test_random_bytes_are_an_input_error_or_a_header(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    for content in (raw, len(raw).to_bytes(8, "little") + raw):
        path.write_bytes(content)
        try:
            read_header(path, path.name)
        except InputError:
            continue


@given(
    st.lists(
        st.tuples(
            st.text(max_size=5), st.sampled_from(list(DTYPE_BITS)), st.lists(st.integers(0, 4), max_size=3)
        ),
        max_size=6,
        unique_by=lambda each: each[0],
    )
)
def test_what_we_write_the_library_reads(entries: list[tuple[str, str, list[int]]]) -> None:
    fitting = [
        (name, dtype, tuple(shape), math.prod(shape) * DTYPE_BITS[dtype] // 8)
        for name, dtype, shape in entries
        if math.prod(shape) * DTYPE_BITS[dtype] % 8 == 0 and name != "__metadata__"
    ]
    fitting = [each for each in fitting if each[0].isprintable()]
    data = bytes(sum(each[3] for each in fitting))
    theirs = dict(safetensors.deserialize(encode_header(fitting, {}) + data))
    assert {name: (each["dtype"], tuple(each["shape"])) for name, each in theirs.items()} == {
        name: (dtype, shape) for name, dtype, shape, _ in fitting
    }
