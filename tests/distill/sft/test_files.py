from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file

from polycompress.distill.sft import (
    DiffInfo,
    RawTensor,
    SparseDiff,
    apply,
    base_of,
    difference,
    files,
    information,
    load_diff,
    open_diff,
    save_diff,
)
from polycompress.errors import InputError
from polycompress.modeldir.tensors import open_checkpoint
from tests.distill.sft.tiny_diffs import described, make_diff, make_state, same
from tests.modeldir.helpers import load_raw, raw_file, save


def wild() -> tuple[dict[str, RawTensor], SparseDiff]:
    """A base and a difference with entries of every kind."""
    base = {
        "f": RawTensor("F32", np.array([1e30, 1, 2, -0.0], "<f4")),
        "h": RawTensor("F16", np.array([[1, 2], [3, 4]], "<f2")),
        "b": RawTensor("BF16", np.array([0x3F80, 0x4000], "<u2")),
    }
    after = {
        "f": RawTensor("F32", np.array([1e-30, 1, 3, 0.0], "<f4")),
        "h": RawTensor("F16", np.array([[1, -0.0], [3, 4]], "<f2")),
        "b": base["b"],
        "head": RawTensor("BF16", np.array([[1, 2, 3]], "<u2")),
        "scalar": RawTensor("I64", np.array(7)),
    }
    mask = {"f": np.arange(4), "h": np.array([1]), "b": np.array([0])}
    info = DiffInfo(
        base=described(base),
        task="ner-wikiann",
        languages=("eng-Latn",),
        config={"id2label": {"0": "ö"}},
        prefix="bert.",
        dropped=("pooler",),
        notes=("one", "two"),
    )
    return base, difference(base, after, mask, dense=["head", "scalar"], info=info)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    base, diff = wild()
    save_diff(tmp_path / "x.diff", diff)
    again = load_diff(tmp_path / "x.diff")
    assert again.digest == diff.digest
    assert again.info == diff.info
    assert (again.k, again.density) == (6, 0.6)
    assert same(apply(base, again).tensors, apply(base, diff).tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["x.diff"]


def test_any_safetensors_reader_reads_it(tmp_path: Path) -> None:
    _, diff = wild()
    save_diff(tmp_path / "x.safetensors", diff)
    raw = load_raw(tmp_path / "x.safetensors")
    assert raw["indices/f"][:2] == ("I64", (4,))
    assert raw["values/f"][:2] == ("F64", (4,))
    assert raw["results/h"] == ("F16", (1,), np.array([-0.0], "<f2").tobytes())
    assert raw["dense/head"][:2] == ("BF16", (1, 3))
    with safetensors.safe_open(tmp_path / "x.safetensors", "np") as file:
        told = json.loads(file.metadata()["sft"])
    assert (told["schema"], told["k"], told["density"]) == (1, 6, 0.6)


def test_an_empty_difference(tmp_path: Path) -> None:
    base = make_state()
    save_diff(tmp_path / "x", difference(base, base, {}, info=DiffInfo(base=described(base))))
    assert load_diff(tmp_path / "x").k == 0


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    base = make_state()
    with pytest.raises(InputError, match="does not know the tensors of its base model"):
        save_diff(tmp_path / "x", difference(base, base, {}))
    info = DiffInfo(base=described(base), config={"auto_map": {}})
    with pytest.raises(InputError, match=r"may not set auto_map in config\.json"):
        save_diff(tmp_path / "x", difference(base, base, {}, info=info))
    assert not list(tmp_path.iterdir())


def test_base_of_a_checkpoint(tmp_path: Path) -> None:
    state = make_state()
    save(tmp_path, {"a": state["a"].values, "b": state["b"].values, "none": np.zeros((0, 3), "<f4")})
    found = base_of(open_checkpoint(tmp_path))
    assert {name: found[name] for name in "ab"} == {name: described(state)[name] for name in "ab"}
    assert found["none"].shape == (0, 3)


Told = dict[str, Any]
Arrays = dict[str, np.ndarray]


def tampered(tmp_path: Path, change: Callable[[Told, Arrays], object]) -> Path:
    """A file whose metadata and tensors were changed; written by hand, with whatever is in them."""
    save_diff(tmp_path / "good.diff", make_diff(make_state(), 1, 12, head=True))
    arrays: Arrays = dict(load_file(tmp_path / "good.diff"))
    with safetensors.safe_open(tmp_path / "good.diff", "np") as file:
        told: Told = json.loads(file.metadata()["sft"])
    change(told, arrays)
    entries, data = {}, b""
    kinds = {
        "int64": "I64",
        "float64": "F64",
        "float32": "F32",
        "int32": "I32",
        "uint8": "U8",
        "uint16": "BF16",
    }
    for name, array in arrays.items():
        span = [len(data), len(data) + array.nbytes]
        entries[name] = {"dtype": kinds[array.dtype.name], "shape": list(array.shape), "data_offsets": span}
        data += array.tobytes()
    sft = told if isinstance(told, str) else json.dumps(told)
    metadata = {"format": told.pop("format", files.FORMAT), "sft": told.pop("raw", sft)}
    path = tmp_path / "bad.diff"
    path.write_bytes(raw_file(entries, data, metadata=metadata))
    return path


def put(array: str, place: int, value: float) -> Callable[[Told, Arrays], object]:
    return lambda _, arrays: arrays[array].__setitem__(place, value)


BASE_A = ("base", "a")
LAYOUT = [
    (lambda t, a: a.update(extra=a["dense/head"]), "'extra' belongs to nothing"),
    (lambda t, a: a.pop("values/a"), "'indices/a' has no 'values/a'"),
    (lambda t, a: a.pop("indices/a"), "'values/a' has no 'indices/a'"),
    (lambda t, a: a.update({"pinned/a": a["indices/a"]}), "'pinned/a' has no 'results/a'"),
    (
        lambda t, a: a.update({"pinned/q": a["indices/a"][:0], "results/q": a["dense/head"].ravel()[:0]}),
        "'pinned/q' has no 'indices/q'",
    ),
    (
        lambda t, a: a.update({"values/a": a["values/a"][1:]}),
        "'indices/a' and 'values/a' are of different lengths",
    ),
    (lambda t, a: a.update({"indices/a": a["indices/a"].astype(np.int32)}), "'indices/a' is I32"),
    (lambda t, a: a.update({"values/a": a["values/a"].astype(np.float32)}), "'values/a' is F32"),
    (lambda t, a: a.update({"values/a": a["values/a"][None]}), "not a list of F64"),
    (
        lambda t, a: a.update({"indices/b": np.arange(99), "values/b": np.zeros(99)}),
        "'indices/b' has 99 entries for a tensor of 7 values",
    ),
    (lambda t, a: a.update({"dense/a": a["dense/head"]}), "tensor 'a' is both sparse and whole"),
    (lambda t, a: t["base"].pop("a"), "tensor 'a' is not in its base model"),
    (
        lambda t, a: t["base"]["a"].update(dtype="I32"),
        "tensor 'a' is of type I32, which has no differences",
    ),
    (lambda t, a: t.update(k=5), "'k' is 5, but there are 12 entries"),
]
FIELDS = [
    (lambda t, a: t.update(schema=2), "schema 2 is newer than this version of polycompress reads"),
    (lambda t, a: t.update(schema="1"), "'schema' is '1', not a version number"),
    (lambda t, a: t.update(k=-1), "'k' is -1, not a number of entries"),
    (lambda t, a: t.update(task=7), "'task' is neither text nor null"),
    (lambda t, a: t.update(notes="x"), "'notes' is no list of texts"),
    (lambda t, a: t.update(languages=[1]), "'languages' is no list of texts"),
    (lambda t, a: t.update(config=[]), "'config' is no object"),
    (lambda t, a: t.update(config={"auto_map": {}}), "'config' sets auto_map; only architectures"),
    (lambda t, a: t.update(prefix="../"), "'prefix' is '../', not the beginning of a name"),
    (lambda t, a: t.update(base={}), "'base' must describe the tensors"),
    (lambda t, a: t["base"]["a"].update(sha256="0"), "'base' of tensor 'a': 'sha256' is no SHA-256"),
    (lambda t, a: t["base"]["a"].update(shape=[-1]), "'base' of tensor 'a': 'shape' is no list of lengths"),
    (lambda t, a: t["base"]["a"].update(shape=[9] * 1000), "'shape' is no list of lengths"),
    (lambda t, a: t["base"]["a"].update(dtype="F5"), "unknown tensor type 'F5'"),
    (lambda t, a: t["base"].update(a=1), "'base' of tensor 'a': is no object"),
    (lambda t, a: t.update(raw="{"), "its metadata is not JSON"),
    (lambda t, a: t.update(raw="[" * 100_000), "its metadata is not JSON"),
    (lambda t, a: t.update(raw="[]"), "its metadata is no JSON object"),
    (lambda t, a: t.update(format="pt"), "is a safetensors file, but no sparse difference"),
]
VALUES = [
    (put("values/a", 0, np.nan), "tensor 'a': a value is no finite number"),
    (put("values/a", 0, -np.inf), "tensor 'a': a value is no finite number"),
    (put("indices/a", 1, 0), "tensor 'a': indices must increase and lie in 0 to 19"),
    (put("indices/a", 0, -1), "tensor 'a': indices must increase and lie in 0 to 19"),
    (put("indices/a", -1, 20), "tensor 'a': indices must increase and lie in 0 to 19"),
    (
        lambda t, a: a.update({"pinned/a": np.array([99]), "results/a": np.ones(1, np.float32)}),
        "tensor 'a': pinned must increase and lie in 0 to",
    ),
    (
        lambda t, a: a.update({"pinned/a": np.array([0]), "results/a": np.full(1, np.inf, np.float32)}),
        "tensor 'a': a result is no finite number",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), [*LAYOUT, *FIELDS], ids=lambda each: each if isinstance(each, str) else ""
)
def test_hostile_files_are_refused_before_values_are_read(
    change: Callable[[Told, Arrays], object], message: str, tmp_path: Path
) -> None:
    path = tampered(tmp_path, change)
    with pytest.raises(InputError) as caught:
        open_diff(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("change", "message"), VALUES, ids=lambda each: each if isinstance(each, str) else ""
)
def test_hostile_values_are_refused(
    change: Callable[[Told, Arrays], object], message: str, tmp_path: Path
) -> None:
    path = tampered(tmp_path, change)
    open_diff(path)
    with pytest.raises(InputError) as caught:
        load_diff(path)
    assert message in str(caught.value)


def test_untampered_it_is_read(tmp_path: Path) -> None:
    path = tampered(tmp_path, lambda told, arrays: None)
    assert load_diff(path).digest == load_diff(tmp_path / "good.diff").digest


def test_every_fault_at_once(tmp_path: Path) -> None:
    def change(told: Told, arrays: Arrays) -> None:
        arrays["more"] = arrays["dense/head"]
        arrays.pop("values/a")
        told["k"] = 3

    with pytest.raises(InputError) as caught:
        open_diff(tampered(tmp_path, change))
    assert str(caught.value).count("\n  ") == 3


def test_sizes_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.diff"
    save_diff(path, make_diff(make_state(), 1))
    monkeypatch.setattr(information, "MAX_CHARACTERS", 10)
    with pytest.raises(InputError, match="characters, over the limit of 10"):
        open_diff(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match=r"x.diff: \d+ bytes, over the limit of 100"):
        open_diff(path)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none: no such file\. Check the name, or make one with: polycompress sft diff"
    ):
        open_diff(tmp_path / "none")
    with pytest.raises(
        InputError, match=r"not a regular file but a directory\. Name the file, such as .*/task\.diff"
    ):
        open_diff(tmp_path)
    (tmp_path / "x").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(InputError, match="header length"):
        open_diff(tmp_path / "x")
    save_diff(tmp_path / "good", make_diff(make_state(), 1))
    whole = (tmp_path / "good").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-8])
    with pytest.raises(InputError, match="truncated or corrupt"):
        open_diff(tmp_path / "cut")
    (tmp_path / "link").symlink_to("good")
    assert load_diff(tmp_path / "link").k == 12
