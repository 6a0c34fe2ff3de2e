"""The page of a run of a recipe: what it says, what it leaves out, and what damaged files do to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from polycompress.cli.report import report
from polycompress.errors import InputError
from polycompress.report.whole.page import read_whole_report, render_whole, write_whole_report
from tests.command_line import invoke
from tests.report.page_checks import Page
from tests.report.run_examples import change, make_recipe_run, put

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(report)
EVIL = "</script><script>alert(1)</script>\"'<b>\x00\x1b[31m\u202e\u200f\ud800&amp;"
SMALL = "stages/1-small.json"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_recipe_run(tmp_path / "run")


def page_of(root: Path, **settings: Any) -> str:
    text = render_whole(read_whole_report(root, **settings))
    assert Page(text).outside == []
    return text


def test_a_page_says_all_of_it(run: Path) -> None:
    found, page = write_whole_report(run)
    text = page.read_text(encoding="utf-8")
    assert page == run / "report.html"
    assert Page(text).pictures == 7
    assert "http" not in text.replace("http-equiv", "")
    for part in (
        "8 of 9 finished", "German (deu-Latn) and Swahili (swh-Latn)", "What was made from what", "Size of the weights",
        "1.60", "1.75", "90 of 90 (100.0%)", "99.90%", "Scores by size, speed and loyalty", "Size and speed",
        "finished after 40 steps", "training", "Layer 3", "expert 1: 60.0%", "0123456789abcdef" * 4,
        "small 7, student 7",
        "polycompress run recipe.yaml --out again", "--corpus &#39;a b.txt&#39; --corpus c.txt --out stages/1-small",
        "batches of 1 x 32 tokens in fp32", "loyalty to small", ">1.5 s<", "made up", "2.13", "not finished",
    ):  # fmt: skip
        assert part in text, part
    assert found.notes == ()
    assert [each.name for each in found.models] == ["model", "small", "student"]
    assert [each.bytes for each in found.models] == [11_800, 3_200, 2_200]
    json.dumps(found.as_dict())


def test_scores_are_set_against_the_speed_of_the_same_models(run: Path) -> None:
    (panel,) = read_whole_report(run).scores.by_speed
    assert [[(dot.x, round(dot.y, 3)) for dot in each.dots] for each in panel.series] == [
        [(1800.0, 0.9), (2700.0, 0.3)], [(1800.0, 0.85), (2700.0, 0.25)],
    ]  # fmt: skip
    assert (panel.across, panel.caption) == (
        "tokens a second",
        "95 % intervals; batches of 1 x 32 tokens in fp32",
    )


def test_a_stage_has_no_times_and_nothing_of_later_stages(run: Path) -> None:
    text = page_of(run, before="page")
    assert page_of(run, before="page") == text
    for part in (">1.5 s<", "made up", "not finished"):
        assert part not in text
    put(run / "run.json", {"recipe": "tiny", "machine": {"processor": "another"}})
    put(run / "report.json", {"kind": "another"})
    assert page_of(run, before="page") == text
    shorter = page_of(run, before="student")
    assert "Scores by" not in shorter and "sib200" not in shorter
    assert "2 of 2 finished" in shorter


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    text = page_of(make_recipe_run(tmp_path / "run", finished=0))
    assert "0 of 9 finished" in text
    for part in ('<h2 id="languages"', "Scores by", "Training", "Experts", "Size of the weights", "Notes"):
        assert part not in text, part


def test_a_training_at_work_is_shown(tmp_path: Path) -> None:
    whole, begun = make_recipe_run(tmp_path / "a"), make_recipe_run(tmp_path / "b", finished=2)
    (begun / "work").mkdir()
    (whole / "stages" / "3-student").rename(begun / "work" / "student")
    text = page_of(begun)
    assert "student (at work)" in text and ">Loss<" in text
    assert "at work" not in page_of(begun, before="student")


def test_what_was_made_of_an_earlier_state_is_named(run: Path) -> None:
    change(run / "stages" / "1-small.json", key="another")
    notes = read_whole_report(run).notes
    assert "student was made of an earlier state of small: carry the recipe out again" in notes


def test_text_from_files_is_escaped_and_seen(tmp_path: Path) -> None:
    run = make_recipe_run(tmp_path / "run", model="evil", name="evil")
    recipe = run / "recipe.yaml"
    plain = EVIL.replace("\x00", "").replace("\x1b", "").replace("\ud800", "")
    recipe.write_text(recipe.read_text().replace("evil", json.dumps(plain)), encoding="utf-8")
    for path in [*(run / "stages").rglob("*.json"), run / "run.json"]:
        text = path.read_text(encoding="utf-8")
        for word in (
            "swh-Latn",
            "Bantu",
            "sib200",
            "accuracy",
            "held-out lines",
            "a b.txt",
            "made up",
            "mit",
            "fp32",
            "e5",
        ):
            text = text.replace(f'"{word}', '"' + json.dumps(EVIL)[1:-1])
        path.write_text(text, encoding="utf-8")
    found = read_whole_report(run)
    text = render_whole(found)
    assert Page(text).outside == []
    assert found.scores.heat_map is not None
    for part in ("<script", "<b>", "\x00", "\x1b", "\u202e", "\u200f", "\ud800"):
        assert part not in text, part
    for part in ("&lt;/script&gt;", "\\x00", "\\u202e", "\\u200f", "\\ud800", "&amp;amp;"):
        assert text.count(part) > 20, part


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("recipe.yaml", "name: [1]", "'name' is missing or no text"),
        ("recipe.yaml", "name: a\nmodel: b\nstages: 3", "'stages' is no list"),
        ("recipe.yaml", "name: a\nmodel: b\nstages: [{name: ../x, do: trim}]", r"stages\[1\] has no usable 'name'"),
        ("recipe.yaml", "a: " + "[" * 99, r"recipe\.yaml"),
        (SMALL, "{", r"1-small\.json: line 1, column 2: not JSON"),
        (SMALL, '{"do": "trim", "typed": "trim", "result": [1]}', r"'typed' is str(.|\n)*'result' is list"),
        (SMALL, '{"do": "eval", "key": "", "identity": {}, "typed": [], "result": {}}', "'do' is 'eval', in"),
        ("run.json", "[]", r"run\.json: holds no JSON object"),
    ],
)  # fmt: skip
def test_damaged_records_are_named(run: Path, path: str, content: str, message: str) -> None:
    (run / path).write_text(content)
    with pytest.raises(InputError, match=message):
        write_whole_report(run)
    assert not (run / "report.html").exists()


def test_links_that_lead_out_are_not_followed(run: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.json", {"typed": ["secret"]})
    record = run / "stages" / "1-small.json"
    record.unlink()
    record.symlink_to(outside)
    with pytest.raises(InputError, match="is a link that leaves"):
        read_whole_report(run)


@pytest.mark.parametrize(
    ("path", "content", "note"),
    [
        ("1-small/polycompress.json", "{", r"polycompress\.json: line 1"),
        ("1-small/polycompress.json", '{"schema": 1, "sizes": 3}', "'sizes' is of type int"),
        ("5-before/sib200.json", '{"kind": "evaluation"}', r"sib200\.json: 'schema'"),
        ("7-speed/bench.json", '{"kind": "bench", "schema": 1}', r"bench\.json: is no whole result"),
        ("3-student/config.json", "[]", r"config\.json"),
        ("3-student/config.json", "[" * 5000, r"config\.json"),
    ],
)
def test_what_cannot_be_read_is_left_out_and_said(run: Path, path: str, content: str, note: str) -> None:
    (run / "stages" / path).write_text(content)
    found = read_whole_report(run)
    text = render_whole(found)
    Page(text)
    assert len(found.notes) == 1 and found.notes[0].startswith("left out: ")
    assert re.search(note, found.notes[0])
    assert "left out: " in text


@pytest.mark.parametrize(
    "odd",
    [None, 3, -1, 1e999, "x", [], {}, [[[]]], {"a": [None]}, 10**400, True],
    ids=lambda odd: repr(odd)[:9],
)
def test_odd_values_do_not_break_the_page(run: Path, odd: Any) -> None:
    for name, fields in {
        "1-small": ("plan", "certificate"), "2-check": ("certificate",), "3-student": ("sizes", "distillation"),
        "4-routes": ("layers", "families", "top_k", "experts", "languages"), "8-look": ("profiles",),
    }.items():  # fmt: skip
        path = run / "stages" / f"{name}.json"
        record = json.loads(path.read_text())
        change(path, result={**record["result"], **dict.fromkeys(fields, odd)})
    deep = run / "stages" / "2-check.json"
    change(
        deep,
        result={
            "certificate": {
                "rows": odd,
                "languages": {"x": {"texts": odd, "fertility_before": odd}, "y": odd},
            }
        },
    )
    change(
        deep,
        identity={
            "models": odd,
            "named": odd,
            "texts": {"corpus": odd},
            "files": {"a": odd},
            "examples": odd,
        },
    )
    change(run / "run.json", stages={"small": odd}, machine=odd, versions={"a": odd})
    text = page_of(run)
    assert not re.search(r"<(svg|rect|path|circle|line)[^>]*\b(nan|inf)\b", text)


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    app([str(run), "--out", str(tmp_path / "a.html")], standalone_mode=False)
    assert "written to" in capsys.readouterr().out and opened == []
    app([str(run), "--json", "--open", "--before", "page"], standalone_mode=False)
    assert opened == [(run / "report.html").as_uri()]
    shown = json.loads(capsys.readouterr().out)
    assert shown["page"] == str(run / "report.html")
    assert shown["facts"]["stages"] == "8 of 8 finished"


def test_a_page_that_no_browser_shows_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)  # as where there is no display
    page = tmp_path / "a b.html"
    outcome = invoke(capsys, "report", run, "--out", page, "--open")
    assert (outcome.code, outcome.out) == (0, f"written to {page}\n")
    assert outcome.err == f"WARNING: no browser could be opened here; the page is at {page.as_uri()}\n"


def test_a_wrong_directory(run: Path, tmp_path: Path) -> None:
    kinds = "Give a run of a recipe .* a training run .* or a directory that `polycompress eval --out`"
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty", run / "recipe.yaml"):
        with pytest.raises(InputError, match=kinds):
            app([str(place)], standalone_mode=False)
    put(tmp_path / "model" / "config.json", {"model_type": "bert"})
    with pytest.raises(InputError, match=f"is not that of a training run.*{kinds}"):
        app([str(tmp_path / "model")], standalone_mode=False)
    with pytest.raises(InputError, match="--before 'x': there is no such stage; there are small, check"):
        app([str(run), "--before", "x"], standalone_mode=False)
    with pytest.raises(InputError, match=r"--before 'x': .*empty is no run of a recipe"):
        app([str(tmp_path / "empty"), "--before", "x"], standalone_mode=False)
