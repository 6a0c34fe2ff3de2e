from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.pipelines.distilling import recipe_yaml
from polycompress.pipelines.distilling.recipe_table import Located
from polycompress.pipelines.distilling.recipe_yaml import read_document, set_values

_LEAVES = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text("ab:#'\" \n-é", max_size=8)
_TREES = st.recursive(
    _LEAVES,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), below, max_size=3)
    ),
    max_leaves=12,
)


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@given(st.dictionaries(st.text("abc", min_size=1), _TREES, max_size=4))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = written(tmp_path_factory.mktemp("y"), yaml.safe_dump(values, allow_unicode=True))
    document = read_document(path)
    assert document.values == values
    assert all((name,) in document.lines for name in values)


def test_numbers_and_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = "a: 1e-4\nb: no\nc: 2024-01-01\nd: '7'\ne: 010\nf: 1:30\ng: true\nh: .5\ni: ~\nj: none\n"
    assert read_document(written(tmp_path, text)).values == {
        "a": 1e-4, "b": "no", "c": "2024-01-01", "d": "7", "e": "010", "f": "1:30", "g": True, "h": 0.5, "i": None,
        "j": "none",
    }  # fmt: skip


def test_lines_of_fields_and_entries(tmp_path: Path) -> None:
    lines = read_document(written(tmp_path, "# one\na:\n  - name: x\n    b: 2\n  - y\nc: {d: 1}\n")).lines
    assert lines[("a",)] == "line 2"
    assert lines[("a", 0, "b")] == "line 4"
    assert lines[("a", 1)] == "line 5"
    assert lines[("c", "d")] == "line 6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n b: 2\n", r"line 2, column 3: not YAML"),
        ("a: &x 1\nb: *x\n", r"recipe\.yaml: line 2: is an alias \(\*x\): write"),
        ("a: 1\nb: 2\na: 3\n", r"line 3: 'a' stands twice"),
        ("a: !!python/object/apply:os.system [ls]\n", r"the tag 'python/object/apply:os.system' is not"),
        ("a: !!python/name:os.system x\n", r"line 1: the tag 'python/name:os.system' is not read"),
        ("- a\n", r"line 1: is no mapping"),
        ("? [a]\n: 1\n", r"line 1: a field has no name"),
        ("a: 1\n---\nb: 2\n", r"line 2, column 1: not YAML"),
        ("a: \x01\n", r"not YAML that can be read"),
        ("[" * 200_000, r"recipe\.yaml: line 1: lists and mappings are nested more than 32 deep"),
    ],
)
def test_what_is_not_read(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message):
        read_document(path)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there\.yaml: cannot be read"):
        read_document(tmp_path / "there.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(InputError, match=r"byte 3 is not UTF-8"):
        read_document(tmp_path / "b.yaml")
    monkeypatch.setattr(recipe_yaml, "MAX_BYTES", 3)
    with pytest.raises(InputError, match=r"more than 3 bytes"):
        read_document(tmp_path / "b.yaml")


def test_values_put_over_those_of_the_file(tmp_path: Path) -> None:
    document = read_document(written(tmp_path, "a: {b: 1}\ns:\n  - {name: x, t: 1}\n  - {name: y, t: 2}\n"))
    set_values(document, ["a.b=[1, q=2]", "a.c.d=1e-3", "s.y.t=5", "s.1.t=4", "e=", "f=x=y"])
    assert document.values == {
        "a": {"b": [1, "q=2"], "c": {"d": 1e-3}},
        "s": [{"name": "x", "t": 4}, {"name": "y", "t": 5}],
        "e": None,
        "f": "x=y",
    }
    assert document.lines[("s", 1, "t")] == "--set s.y.t"
    assert document.lines[("a", "b")] == "--set a.b"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("a", r"--set 'a': write FIELD=VALUE"),
        ("s.z.t=1", r"--set s\.z\.t: there is no 'z' among x"),
        ("s.2.t=1", r"there is no '2' among x"),
        ("n.b=1", r"--set n\.b: n has no fields"),
        ("n=[1", r"--set n: line 1, column \d+: not YAML"),
        ("n=!x y", r"--set n: the tag '!x' is not read"),
    ],
)
def test_settings_that_lead_nowhere(tmp_path: Path, setting: str, message: str) -> None:
    document = read_document(written(tmp_path, "n: 1\ns: [{name: x}]\n"))
    with pytest.raises(InputError, match=message):
        set_values(document, [setting])


def test_a_fault_finds_the_nearest_line() -> None:
    faults: list[str] = []
    lines = {(): "line 1", ("a",): "line 4", ("a", "b"): "line 5"}
    table = Located({"a": {"b": "x", "c": None}}, faults, lines)
    table.fault("a.b is wrong.")
    table.fault("a.z: is missing")
    table.fault("other")
    below = table.table("a")
    assert below is not None
    assert not below.has("c")
    below.whole("b", 1)
    assert faults == [
        "line 5: a.b is wrong",
        "line 4: a.z: is missing",
        "line 1: other",
        "line 5: a.b is 'x': give a whole number",
    ]
