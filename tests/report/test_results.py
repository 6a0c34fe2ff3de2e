from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from polycompress.cli.report import report
from polycompress.errors import InputError
from polycompress.languages import all_languages
from polycompress.report.comparison import correlation, left_out, loyalty_panels, size_panels
from polycompress.report.result_files import read_results
from polycompress.report.results import make_report, read_results_report, render_results, write_results_report
from tests.report.page_checks import Page
from tests.report.result_examples import make_bench, make_result, write

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)
SIZES = {"full": 118_000_000, "half": 60_000_000, "small": 25_000_000}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    loyalty = {"teacher": "full", "scores": {
        "deu-Latn": {"label": 0.95, "cka": 0.9}, "tur-Latn": {"label": 0.9, "cka": 0.8}, "zho-Hans": {"label": 0.7},
    }}  # fmt: skip
    for step, (name, size) in enumerate(SIZES.items()):
        scores = {"deu-Latn": 0.9 - step / 10, "tur-Latn": 0.8 - step / 10, "zho-Hans": 0.7 - step / 10}
        more: dict[str, Any] = {"loyalty": loyalty} if step else {}
        write(root / name / "sib200.json", make_result("sib200", name, scores, parameters=size, **more))
    codes = [language.code for language in all_languages()[:20]]
    for name, size in SIZES.items():
        known = codes if name != "small" else codes[1:]
        scores = {code: 0.5 + place / 100 for place, code in enumerate(known)}
        write(root / name / "ner.json", make_result("ner-wikiann", name, scores, parameters=size))
    (root / "bench.json").write_text(json.dumps(make_bench()))
    return root


def test_a_page_stands_alone(results: Path) -> None:
    report, page = write_results_report(results)
    assert page == results / "report.html"
    text = page.read_text(encoding="utf-8")
    assert Page(text).outside == []
    assert "http" not in text.replace("http-equiv", "")
    for part in (
        'name="viewport"', "prefers-color-scheme: dark", "default-src 'none'", "Scores by language and task",
        "Scores by size and loyalty", "Size and speed", "German (deu-Latn)", "118.0 M (118,000,000)", "50.0%",
        "bench.json", "1,600  1.25x", "loyalty to full; correlation",
    ):  # fmt: skip
        assert part in text, part
    assert text.count("<svg") == 3
    assert [model.name for model in report.models] == ["full", "half", "small"]
    json.dumps(report.as_dict())


def test_few_languages_have_a_line_each(results: Path) -> None:
    found = read_results_report(results)
    panel = next(each for each in found.by_size if each.task == "sib200")
    assert [each.name for each in panel.series] == [
        "German (deu-Latn)", "Turkish (tur-Latn)", "Chinese (Simplified) (zho-Hans)",
    ]  # fmt: skip
    german = panel.series[0].dots
    assert panel.joined
    assert [(dot.x, round(dot.y, 3), dot.label) for dot in german] == [
        (118e6, 0.9, "1"), (60e6, 0.8, "2"), (25e6, 0.7, "3"),
    ]  # fmt: skip
    assert (german[0].low, german[0].high) == (pytest.approx(0.88), pytest.approx(0.92))


def test_many_languages_have_a_mean_over_those_that_all_models_have(results: Path) -> None:
    found = read_results_report(results)
    panel = next(each for each in found.by_size if each.task == "ner-wikiann")
    (series,) = panel.series
    assert panel.caption == "mean over 19 languages; 1 more were not measured with all models"
    assert [dot.y for dot in series.dots[:2]] == pytest.approx([0.5 + sum(range(1, 20)) / 1900] * 2)
    assert series.dots[0].high - series.dots[0].low == pytest.approx(0.04)  # type: ignore[operator]


def test_loyalty_against_score(results: Path) -> None:
    found = read_results_report(results)
    (panel,) = found.by_loyalty
    assert panel.across == "label loyalty"
    assert [each.name for each in panel.series] == ["2: half", "3: small"]
    assert [(dot.x, round(dot.y, 3)) for dot in panel.series[0].dots] == [(0.95, 0.8), (0.9, 0.7), (0.7, 0.6)]
    value = correlation(panel)
    assert value is not None
    assert 0 < value < 1


def test_where_labels_say_nothing_hidden_states_do(tmp_path: Path) -> None:
    loyalty = {"teacher": "t", "scores": {"deu-Latn": {"cka": 0.9}}}
    write(tmp_path / "1.json", make_result("retrieval-pud", "a", {"deu-Latn": 0.9}, loyalty=loyalty))
    found = read_results(tmp_path).judged
    (panel,) = loyalty_panels(found, [found[0].model])
    assert panel.across == "CKA with the teacher"
    assert correlation(panel) is None


def test_scores_that_are_all_equal_have_no_correlation(tmp_path: Path) -> None:
    codes = ("deu-Latn", "swh-Latn", "fra-Latn")
    loyalty = {"teacher": "t", "scores": {code: {"label": 0.1 * n} for n, code in enumerate(codes)}}
    write(tmp_path / "1.json", make_result("sib200", "a", dict.fromkeys(codes, 0.35), loyalty=loyalty))
    found = read_results(tmp_path).judged
    (panel,) = loyalty_panels(found, [found[0].model])
    assert correlation(panel) is None


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    codes = [language.code for language in all_languages()[:12]]
    write(tmp_path / "1.json", make_result("xnli", "a", dict.fromkeys(codes[:6], 0.5)))
    write(tmp_path / "2.json", make_result("xnli", "b", dict.fromkeys(codes[6:], 0.5)))
    write(tmp_path / "3.json", make_result("sib200", "c", {"deu-Latn": 0.5}, parameters=None))
    found = read_results(tmp_path)
    made = make_report("r", found)
    assert made.by_size == size_panels(found.judged, made.models) == ()
    assert (
        left_out(found.judged)
        == made.notes
        == (
            "xnli: no language was measured with all models, so there is no mean to draw by size",
            "sib200: the size of c is unknown, so the picture leaves it out",
        )
    )
    text = render_results(made)
    assert "no language was measured with all models" in text
    assert "unknown" in text


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'"
    more: dict[str, Any] = {
        "metric": evil, "published": [{"model": evil, "scores": {evil: 0.5}, "source": evil}], "notes": [evil],
        "averages": {"missing": [evil]}, "loyalty": {"teacher": evil, "scores": {evil: {"label": 0.5}}},
        "seeds": [0, 1],
    }  # fmt: skip
    root = tmp_path / "<b>"
    result = make_result(evil, evil, {evil: 0.5}, **more)
    result["model"]["trained_on"] = [evil]
    write(root / "1.json", result)
    bench = make_bench()
    bench["models"][0]["name"] = evil
    bench["settings"]["precisions"] = ["fp32"]
    (root / "<i>.json").write_text(json.dumps(bench))
    text = render_results(read_results_report(root))
    assert "<script" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert Page(text).outside == []
    assert text.count("&lt;script&gt;") >= 10


def test_benchmarks_alone(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(make_bench()))
    text = render_results(read_results_report(tmp_path))
    assert "Size and speed" in text
    assert "Models" not in text
    assert "<svg" not in text
    Page(text)


def test_the_command(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app([str(results)], standalone_mode=False)
    assert f"written to {results / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    page = tmp_path / "page.html"
    app([str(results), "--out", str(page), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["page"] == str(page)
    assert page.read_text() == (results / "report.html").read_text()


def test_neither_a_run_nor_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither a run of a recipe, nor a training run"):
        app([str(tmp_path)], standalone_mode=False)
    with pytest.raises(InputError, match="no such directory"):
        app([str(tmp_path / "none")], standalone_mode=False)
