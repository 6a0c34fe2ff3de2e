from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.records import Part
from polycompress.evaluation.results import number
from polycompress.evaluation.speed_table import speed_tables
from polycompress.report import result_files
from polycompress.report.result_files import read_results
from tests.report.result_examples import make_bench, make_result, write


def test_all_results_below_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "a" / "sib200.json", make_result("sib200", "a", {"deu-Latn": 0.9, "swh-Latn": 0.7}))
    write(tmp_path / "a" / "xnli.json", make_result("xnli", "a", {"deu-Latn": 0.6}))
    write(tmp_path / "b.json", make_result("sib200", "b", {"deu-Latn": 0.8}, split="dev"))
    write(tmp_path / "a" / "summary.json", {"kind": "summary"})
    write(tmp_path / "list.json", {"kind": 3})
    (tmp_path / "a" / "list.json").write_text("[1]")
    (tmp_path / "bench.json").write_text(json.dumps(make_bench()))
    found = read_results(tmp_path)
    assert [(each.task, each.model.name) for each in found.judged] == [
        ("sib200 (dev)", "b"), ("sib200", "a"), ("xnli", "a"),
    ]  # fmt: skip
    score = found.judged[1].scores[Part("swh-Latn")]
    assert (score.value, score.low, score.high, score.examples) == (
        0.7,
        pytest.approx(0.68),
        pytest.approx(0.72),
        100,
    )
    assert [name for name, _ in found.speed] == ["bench.json"]


def test_runs_models_and_hidden_files_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path / "x.json", make_result("xnli", "a", {"deu-Latn": 0.6}))
    for folder in ("run", ".hidden"):
        write(tmp_path / folder / "other.json", make_result("xnli", folder, {"deu-Latn": 0.6}))
    (tmp_path / "run" / "config.json").write_text("not even JSON")
    (tmp_path / ".y.json").write_text("not even JSON")
    assert [each.model.name for each in read_results(tmp_path).judged] == ["a"]


def test_parts_from_several_files_come_together(tmp_path: Path) -> None:
    loyalty = {"teacher": "t", "scores": {"deu-Latn": {"label": 0.9, "cka": None}}}
    write(
        tmp_path / "1.json", make_result("ner", "a", {"deu-Latn": 0.9, "eng-Latn/ewt": 0.8}, loyalty=loyalty)
    )
    second = make_result(
        "ner", "a", {"deu-Latn": 0.9, "eng-Latn/pud": 0.7}, averages={"missing": ["tha-Thai"]}
    )
    write(tmp_path / "2.json", {**second, "settings": {"limit": 50}})
    (one,) = read_results(tmp_path).judged
    assert set(map(str, one.scores)) == {"deu-Latn", "eng-Latn/ewt", "eng-Latn/pud"}
    assert one.missing == {"tha-Thai"}
    assert one.loyalty == {"deu-Latn": {"label": 0.9}}
    assert list(one.notes) == ["ner: at most 50 examples of each part were used"]


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    write(tmp_path / "1.json", make_result("ner", "a", {"deu-Latn": 0.9}))
    write(tmp_path / "2.json", make_result("ner", "a", {"deu-Latn": 0.8}))
    with pytest.raises(
        InputError, match=r"2\.json: scores\[0\]: ner of 'a' in deu-Latn is 0\.8000 here and 0\.9000"
    ):
        read_results(tmp_path)
    write(tmp_path / "2.json", {**make_result("ner", "a", {"swh-Latn": 0.8}), "metric": "entity-f1"})
    with pytest.raises(InputError, match=r"'metric' is 'entity-f1', in another file of this task 'accuracy'"):
        read_results(tmp_path)


def test_what_others_got(tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "published": [{"model": "XLM-R", "scores": {"deu-Latn": 0.74}, "source": "its paper"}, 3],
        "baseline": {"scores": {"from English": {"deu-Latn": 0.4, "x": "no number"}, "b": 3}},
        "notes": ["one"],
        "seeds": [0, 1, 2],
        "over_seeds": {"collapsed": 1 / 3},
    }
    write(tmp_path / "1.json", make_result("xnli", "a", {"deu-Latn": 0.6}, **more))
    (one,) = read_results(tmp_path).judged
    assert one.references == {
        "XLM-R, published (its paper)": {"deu-Latn": 0.74}, "bag of words, from English": {"deu-Latn": 0.4},
        "bag of words, b": {},
    }  # fmt: skip
    assert list(one.notes) == ["xnli: 33% of the 3 seeds of a collapsed", "xnli: one"]


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds neither a run of a recipe, nor a training run .* nor results"
    ):
        read_results(tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{")
    with pytest.raises(InputError, match=r"x\.json: line 1, column 2: not JSON"):
        read_results(tmp_path)
    good = make_result("xnli", "a", {"deu-Latn": 0.6})
    for name, value, shown in (("score", 1.5, "1.5"), ("low", -0.1, "-0.1"), ("high", 10**400, "10")):
        row = {**good["scores"][0], name: value}
        path.write_text(json.dumps({**good, "scores": [row]}))
        with pytest.raises(
            InputError, match=rf"scores\[0\]\.{name}: is {shown}.*a number from 0 to 1 will do"
        ):
            read_results(tmp_path)
    path.write_text(json.dumps({**good, "scores": [{**good["scores"][0], "score": float("nan")}]}))
    with pytest.raises(InputError, match=r"scores\[0\]\.score: is nan"):
        read_results(tmp_path)
    path.write_text(json.dumps({**good, "schema": 2}))
    with pytest.raises(InputError, match="'schema' is 2"):
        read_results(tmp_path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.json", make_result("xnli", "a", {"deu-Latn": 0.6}))
    monkeypatch.setattr(result_files, "MAX_FILES", 0)
    with pytest.raises(InputError, match="more than 0 JSON files"):
        read_results(tmp_path)
    monkeypatch.setattr(result_files, "MAX_FILES", 10)
    monkeypatch.setattr(result_files, "MAX_RESULT_BYTES", 10)
    with pytest.raises(InputError, match=r"x\.json: larger than 0 MiB\. Take it out"):
        read_results(tmp_path)


def test_a_link_that_leads_out(tmp_path: Path) -> None:
    outside = write(tmp_path / "secret.json", {"kind": "secret"})
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.json").symlink_to(outside)
    with pytest.raises(InputError, match="is a link that leaves"):
        read_results(tmp_path / "results")


def test_damaged_benchmarks() -> None:
    where = Path("b.json")
    good = make_bench()
    assert len(speed_tables(good, where)) == 3
    with pytest.raises(InputError, match=r"b\.json: 'schema' is 3"):
        speed_tables({**good, "schema": 3}, where)
    for damage in (
        {"models": None}, {"models": [3]}, {"models": []}, {"ratios": {}}, {"settings": {"precisions": ["fp8"]}},
        {"models": [{**good["models"][0], "bytes": {"all": "much", "weights": 3}}]},
    ):  # fmt: skip
        if damage == {"models": []}:
            speed_tables({**good, **damage}, where)
            continue
        with pytest.raises(InputError, match=r"b\.json: is no whole result of a benchmark"):
            speed_tables({**good, **damage}, where)


def test_the_tables_of_a_benchmark() -> None:
    sizes, latency, speed = speed_tables(make_bench())
    assert sizes.head == ("", "full", "small")
    assert sizes.rows == (
        ("parameters", "118.0M", "118.0M  0.25x"),
        ("  of the input table", "96.0M", "96.0M  0.10x"),
        ("  active", "-", "-"),
        ("on disk", "480.0 MB", "480.0 MB  0.30x"),
        ("  weights", "470.0 MB", "470.0 MB  0.20x"),
        ("load time, fp32", "1.50 s", "1.50 s  0.50x"),
        ("peak memory, fp32", "1.05 GB", "1.05 GB  0.60x"),
        ("  beyond libraries, fp32", "734.0 MB", "734.0 MB  0.40x"),
    )
    assert latency.rows == (("32 tokens", "20.0 ms (31.0)", "20.0 ms (31.0)  1.25x"),)
    assert speed.rows == (("1 x 32", "1,600", "1,600  1.25x"),)


def test_numbers() -> None:
    assert [number(value) for value in (1, 0.5, True, "1", None, float("inf"), 10**400)] == [
        1.0, 0.5, None, None, None, None, None,
    ]  # fmt: skip
    assert number(2, 0, 1) is None
