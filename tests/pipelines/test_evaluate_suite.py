from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.results import read_result
from polycompress.evaluation.suites import Suite, SuiteEntry
from polycompress.pipelines import evaluate_suite as suites
from polycompress.pipelines.evaluate_into import evaluate_into
from polycompress.pipelines.evaluate_suite import SuiteResult, evaluate_suite
from polycompress.pipelines.judging import tuning as evaluate_tuning
from polycompress.pipelines.judging.request import find_request
from polycompress.pipelines.judging.settings import EvaluationSettings
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, make_pack
from tests.tiny_models import make_tiny

PLAIN = EvaluationSettings(precision="fp32", device="cpu", max_length=64)


def entry(task: str, train: str | None = None, **more: Any) -> SuiteEntry:
    wanted: dict[str, Any] = {
        "task": task,
        "train_task": train,
        "train_languages": ("eng-Latn",) if train else (),
        "train_limit": None,
        "epochs": 1 if train else None,
        "test_languages": ("all",),
        "limit": None,
    }
    return SuiteEntry(**{**wanted, **more})


ENTRIES = (
    entry("sib200", "sib200", limit=5),
    entry("ner-wikiann", "ner-wikiann"),
    entry("ner-uner", "ner-wikiann"),
    entry("xnli", "xnli"),
    entry("nli-sick", "nli-sick", test_languages=("nld-Latn", "por-Latn")),
    entry("retrieval-tatoeba"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    make_pack(folder / "data")
    make_tiny("xlm-roberta", "base", folder / "base", vocab_size=350)
    return folder


@pytest.fixture(autouse=True)
def small_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Suite(id="small", name="Small", description="", entries=ENTRIES)
    monkeypatch.setattr(suites, "find_suite", lambda name: found)


def judge(root: Path, out: Path, model: Path | None = None, **options: Any) -> SuiteResult:
    given = {"suite": "small", "out": out, "data": root / "data", "settings": PLAIN, **options}
    return evaluate_suite(model or root / "base", **given)


def test_a_suite_from_nothing_and_again(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    out = tmp_path / "out"
    done = judge(root, out)
    names = ["sib200", "ner-wikiann", "ner-uner", "nli-sick", "retrieval-tatoeba"]
    assert [result["task"] for result in done.results] == names
    (left_out,) = done.skipped
    assert left_out.startswith("xnli: ")
    assert "no test examples in any language" in left_out
    assert sorted(path.name for path in (out / "models").iterdir()) == ["ner-wikiann", "nli-sick", "sib200"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["models", *(f"{name}.{suffix}" for name in names for suffix in ("json", "md"))]
    )
    by_task = {result["task"]: result for result in done.results}
    assert by_task["sib200"]["model"]["name"] == "base"
    assert by_task["sib200"]["model"]["trained_on"] == ["eng-Latn"]
    assert {row["examples"] for row in by_task["sib200"]["scores"]} == {5}
    assert by_task["ner-uner"]["model"]["tuned_for"] == "ner-wikiann"
    assert by_task["retrieval-tatoeba"]["model"]["trained_on"] == []
    assert by_task["nli-sick"]["averages"]["missing"] == ["por-Latn"]
    assert read_result(out / "sib200.json") == by_task["sib200"]

    def must_not(*_: Any, **__: Any) -> None:
        raise AssertionError("what is finished is not done again")

    monkeypatch.setattr(suites, "tune", lambda model, tuning, run, **_: run)
    monkeypatch.setattr("polycompress.pipelines.evaluate_into.evaluate_request", must_not)
    before = {path: path.read_bytes() for path in out.glob("*.*")}
    assert judge(root, out) == done
    assert {path: path.read_bytes() for path in out.glob("*.*")} == before


def test_only_some_languages(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def fake(model: Any, tuning: Any, run: Path, **_: Any) -> Path:
        trained.append((tuning.name, tuning.languages))
        return tiny("xlm-roberta", "sequence", run / "final", CATEGORIES).parent

    monkeypatch.setattr(suites, "tune", fake)
    done = judge(root, tmp_path / "out", langs="German,Portuguese")
    assert [result["task"] for result in done.results] == ["sib200", "retrieval-tatoeba"]
    assert trained == [("sib200", ("eng-Latn",))]
    assert len(done.skipped) == 4
    with pytest.raises(InputError, match=r"No task of the suite small can be judged:\n  sib200: .*fra-Latn"):
        judge(root, tmp_path / "other", langs="fr")


def test_a_model_that_is_tuned_already_is_judged_as_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        suites, "find_suite", lambda name: Suite(id="s", name="", description="", entries=ENTRIES[:1])
    )
    model = tiny("xlm-roberta", "sequence", tmp_path / "tuned", CATEGORIES)
    tuned = {"task": "sib200", "train_languages": ["eng-Latn"], "seed": 3}
    (model / "polycompress.json").write_text(json.dumps({"schema": 1, "finetuning": tuned}))
    done = judge(root, tmp_path / "out", model, teacher=model)
    assert not (tmp_path / "out" / "models").exists()
    assert done.results[0]["seeds"] == [3]
    assert done.results[0]["loyalty"]["mean"]["label"] == 1


def test_several_seeds_of_a_suite(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suites, "find_suite", lambda name: Suite(id="s", name="", description="", entries=ENTRIES[:1])
    )
    done = judge(root, tmp_path / "out", seeds=2)
    assert done.results[0]["seeds"] == [0, 1]
    assert (tmp_path / "out" / "models" / "sib200" / "seed-1" / "final").is_dir()


def test_models_tuned_from_another(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suites, "find_suite", lambda name: Suite(id="s", name="", description="", entries=ENTRIES[:1])
    )
    judge(root, tmp_path / "out")
    other = make_tiny("xlm-roberta", "base", tmp_path / "other", vocab_size=350, seed=9)
    with pytest.raises(InputError, match="was tuned from another model"):
        judge(root, tmp_path / "out", other)


def test_what_is_known_before_any_work(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "tune", None)
    for seed in (0, 1):
        shutil.copytree(root / "base", tmp_path / "run" / f"seed-{seed}" / "final")
    with pytest.raises(
        InputError, match=r"has 2 seeds, but one model is tuned .* Give one, such as .*seed-0/final"
    ):
        judge(root, tmp_path / "out", tmp_path / "run")
    with pytest.raises(InputError, match="has 2 seeds, but loyalty is to one model"):
        judge(root, tmp_path / "out", teacher=tmp_path / "run")
    with pytest.raises(InputError, match="limit is 0; it must be at least 1"):
        judge(root, tmp_path / "out", limit=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out .*: '.*file' is no directory"):
        judge(root, tmp_path / "file")


def test_a_suite_of_a_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = []

    def fake(model: Any, tuning: Any, run: Path, **_: Any) -> Path:
        tuned.append(model)
        return tiny("xlm-roberta", "sequence", run / "final", CATEGORIES).parent

    monkeypatch.setattr(suites, "tune", fake)
    shutil.copytree(root / "base", tmp_path / "run" / "final")
    done = judge(root, tmp_path / "out", tmp_path / "run", langs="de")
    assert tuned == [tmp_path / "run" / "final"]
    assert done.results[0]["model"]["name"] == "run"


def test_training_examples_that_are_not_there(root: Path) -> None:
    from polycompress.evaluation.tasks import find_task

    with pytest.raises(InputError, match="no training examples of ner-wikiann in swh-Latn"):
        evaluate_tuning.plan_tuning(
            entry("ner-wikiann", "ner-wikiann", train_languages=("swh-Latn",)),
            find_task("ner-wikiann"),
            root / "data",
            {},
        )


def test_one_name_for_one_tuning(root: Path) -> None:
    from polycompress.evaluation.tasks import find_task

    known: dict[Any, Any] = {}
    task = find_task("ner-wikiann")
    for more in ({}, {}, {"epochs": 2}, {"train_languages": ("all",)}):
        evaluate_tuning.plan_tuning(entry("ner-wikiann", "ner-wikiann", **more), task, root / "data", known)
    assert [tuning.name for tuning in known.values()] == ["ner-wikiann", "ner-wikiann-2", "ner-wikiann-3"]


def request(root: Path, model: Path, **options: Any) -> Any:
    return find_request(model, task="sib200", data=root / "data", settings=PLAIN, **options)


def test_a_result_is_kept_or_refused(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, out = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES), tmp_path / "out"
    first = evaluate_into(out, request(root, model, langs="de"))
    assert "| German (deu-Latn) |" in (out / "sib200.md").read_text()
    caplog.clear()
    assert evaluate_into(out, request(root, model, langs="deu")) == first
    assert "is there already, of the same model and examples; it is kept" in caplog.text
    with pytest.raises(InputError, match=r"is of another request \(other parts\)\. .* --overwrite"):
        evaluate_into(out, request(root, model, langs="sw"))
    other = tiny("xlm-roberta", "sequence", tmp_path / "n", CATEGORIES, seed=4)
    with pytest.raises(InputError, match=r"other model"):
        evaluate_into(out, request(root, other, langs="de"))
    second = evaluate_into(out, request(root, other, langs="de"), overwrite=True)
    assert read_result(out / "sib200.json") == second != first


def test_a_baseline_is_fitted_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, out = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES), tmp_path / "out"
    without = evaluate_into(out, request(root, model, langs="de"))
    assert without["baseline"] is None
    beside = evaluate_into(out, request(root, model, langs="de"), baseline=True)
    assert beside["baseline"]["scores"]["in-language"]["deu-Latn"] > 0
    monkeypatch.setattr("polycompress.pipelines.judging.baseline.Baseline", None)
    again = evaluate_into(out, request(root, model, langs="de"), baseline=True, overwrite=True)
    assert again["baseline"] == beside["baseline"]


def test_a_damaged_result_is_not_written_over_unasked(root: Path, tmp_path: Path) -> None:
    model, out = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES), tmp_path / "out"
    out.mkdir()
    (out / "sib200.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        evaluate_into(out, request(root, model, langs="de"))
    evaluate_into(out, request(root, model, langs="de"), overwrite=True)
    assert read_result(out / "sib200.json")
    shutil.rmtree(out)


def test_a_result_of_other_examples_is_not_kept(root: Path, tmp_path: Path) -> None:
    model, out = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES), tmp_path / "out"
    shutil.copytree(root / "data", tmp_path / "data")

    def asked() -> Any:
        return find_request(model, task="sib200", langs="de", data=tmp_path / "data", settings=PLAIN)

    evaluate_into(out, asked())
    table = tmp_path / "data" / "sib200" / "deu_Latn.tsv"
    table.write_text(table.read_text().replace("test\n", "probe\n"))
    with pytest.raises(InputError, match=r"is of another request \(other examples\)"):
        evaluate_into(out, asked())
    evaluate_into(out, asked(), overwrite=True)
    evaluate_into(out, asked())


def test_a_result_is_not_kept_where_other_files_of_the_model_decide(root: Path, tmp_path: Path) -> None:
    model, out = make_tiny("xlm-roberta", "base", tmp_path / "m"), tmp_path / "out"

    def asked() -> Any:
        return find_request(model, task="retrieval-tatoeba", data=root / "data", settings=PLAIN)

    evaluate_into(out, asked())
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    (model / "modules.json").write_text('[{"type": "x.Pooling", "path": "1_Pooling"}]')
    with pytest.raises(InputError, match=r"is of another request \(other model\)"):
        evaluate_into(out, asked())


@pytest.mark.parametrize(
    "fields",
    [
        {"loyalty": {"scores": {"deu-Latn": 5}, "teacher": ""}},
        {"baseline": [1]},
        {"published": [1]},
        {"notes": 5},
    ],
)
def test_a_result_that_cannot_be_shown_is_not_kept(
    root: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    model, out = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES), tmp_path / "out"
    result = evaluate_into(out, request(root, model, langs="de"))
    (out / "sib200.json").write_text(json.dumps({**result, **fields}))
    with pytest.raises(InputError, match=r"sib200\.json: is no whole result .* --overwrite"):
        evaluate_into(out, request(root, model, langs="de"))
    assert evaluate_into(out, request(root, model, langs="de"), overwrite=True)["notes"] == result["notes"]


def test_a_place_that_cannot_be_written_is_found_out_first(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("xlm-roberta", "sequence", tmp_path / "m", CATEGORIES)
    monkeypatch.setattr("polycompress.pipelines.evaluate_into.evaluate_request", None)
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=f"--out {out}: '.*file' is no directory"):
            evaluate_into(out, request(root, model, langs="de"))
