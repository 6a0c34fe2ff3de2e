from __future__ import annotations

import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.evaluation.published import Published
from polycompress.evaluation.records import Part
from polycompress.evaluation.results import plain, stored_scores
from polycompress.evaluation.scoring import METRICS, score
from polycompress.evaluation.tasks import find_task
from polycompress.pipelines.evaluate import evaluate
from polycompress.pipelines.judging import published as evaluate_published
from polycompress.pipelines.judging.baseline import losses_to_baseline
from polycompress.pipelines.judging.judges import open_judge
from polycompress.pipelines.judging.settings import EvaluationSettings, read_settings
from polycompress.training.errors import ConfigError
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, INFERENCES, make_pack
from tests.tiny_models import TEXTS, make_tiny

TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
PLAIN = EvaluationSettings(precision="fp32", device="cpu", max_length=64)


class Kitchen:
    """Tiny models with heads, and a data directory."""

    def __init__(self, root: Path) -> None:
        self.data = make_pack(root / "data")
        self.topics = tiny("xlm-roberta", "sequence", root / "topics", CATEGORIES)
        self.pairs = tiny("xlm-roberta", "sequence", root / "pairs", INFERENCES)
        self.tags = tiny("xlm-roberta", "token", root / "tags", TAGS)
        self.spans = tiny("xlm-roberta", "qa", root / "spans")
        self.base = make_tiny("xlm-roberta", "base", root / "base")

    def judge(self, model: Path, task: str, **options: Any) -> dict[str, Any]:
        return evaluate(model, task=task, **{"data": self.data, "settings": PLAIN, **options})


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(tmp_path_factory.mktemp("kitchen"))


def parts(result: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(row["language"], row["subset"]) for row in result["scores"]]


@pytest.mark.parametrize(
    ("model", "task", "wanted"),
    [
        ("topics", "sib200", [("deu-Latn", None), ("eng-Latn", None), ("swh-Latn", None)]),
        ("pairs", "nli-sick", [("eng-Latn", None), ("nld-Latn", None)]),
        ("tags", "ner-wikiann", [("eng-Latn", None), ("swh-Latn", None)]),
        ("tags", "ner-uner", [("swe-Latn", "pud"), ("swe-Latn", "talbanken")]),
        ("spans", "xquad", [("deu-Latn", None), ("eng-Latn", None)]),
        ("base", "retrieval-tatoeba", [("deu-Latn", None), ("swh-Latn", None)]),
        ("base", "word-translation", [("deu-Latn", None)]),
    ],
)
def test_every_kind_of_task(
    kitchen: Kitchen, model: str, task: str, wanted: list[tuple[str, str | None]]
) -> None:
    result = kitchen.judge(getattr(kitchen, model), task)
    assert parts(result) == wanted
    assert result["averages"]["missing"] == []
    assert result["over_seeds"] is None
    assert result["settings"]["precision"] == "fp32"
    assert result["settings"]["max_length"] == 64
    stored = stored_scores(json.loads(json.dumps(plain(result))), Path("x"))
    metric = METRICS[result["metric"]]
    for row, kept in zip(result["scores"], stored.values(), strict=True):
        assert row["low"] <= row["score"] <= row["high"]
        assert row["details"].keys() == metric.details.keys()
        # What each example got gives the score back.
        assert score(metric, kept.outcomes[0]) == pytest.approx(row["score"], abs=1e-7)
        assert kept.examples == len(kept.outcomes[0])
    means = [
        np.mean([row["score"] for row in result["scores"] if row["language"] == code])
        for code in dict.fromkeys(row["language"] for row in result["scores"])
    ]
    assert result["averages"]["all"]["mean"] == pytest.approx(np.mean(means))


def test_the_same_again_is_equal(kitchen: Kitchen) -> None:
    first, second = (kitchen.judge(kitchen.topics, "sib200") for _ in range(2))
    for name in ("seconds", "date"):
        first.pop(name), second.pop(name)
    assert first == second


def test_languages_that_the_task_lacks_are_gaps(kitchen: Kitchen) -> None:
    result = kitchen.judge(kitchen.topics, "sib200", langs="sw,French,de")
    assert parts(result) == [("deu-Latn", None), ("swh-Latn", None)]
    assert result["averages"]["missing"] == ["fra-Latn"]
    assert result["averages"]["all"]["languages"] == 2
    with pytest.raises(
        InputError, match=r"no test examples in fra-Latn\. It has them in: deu-Latn, eng-Latn, swh"
    ):
        kitchen.judge(kitchen.topics, "sib200", langs=["fr"])


def test_a_limit_and_another_split(kitchen: Kitchen) -> None:
    result = kitchen.judge(kitchen.topics, "sib200", langs="de", limit=3, split="dev")
    assert [row["examples"] for row in result["scores"]] == [3]
    assert result["settings"]["limit"] == 3
    assert result["split"] == "dev"
    with pytest.raises(InputError, match="--split 'tests': give one of train, dev, test"):
        kitchen.judge(kitchen.topics, "sib200", split="tests")


def test_several_seeds(kitchen: Kitchen, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for seed in (0, 7):
        final = tiny("xlm-roberta", "sequence", run / f"seed-{seed}" / "final", CATEGORIES, seed=seed)
        tell(final, seed)
    result = kitchen.judge(run, "sib200")
    assert result["seeds"] == [0, 7]
    assert result["model"]["name"] == "run"
    assert result["model"]["trained_on"] == ["eng-Latn"]
    alone = [kitchen.judge(run / f"seed-{seed}" / "final", "sib200") for seed in (0, 7)]
    for row, one, other in zip(result["scores"], *(each["scores"] for each in alone), strict=True):
        assert row["per_seed"] == [one["score"], other["score"]]
        assert row["score"] == pytest.approx((one["score"] + other["score"]) / 2)
        assert row["spread"] is not None
    over = result["over_seeds"]
    assert over["mean"] == pytest.approx(result["averages"]["all"]["mean"])
    assert over["collapsed"] in (0, 0.5, 1)
    english = [row["score"] for row in result["scores"] if row["language"] != "eng-Latn"]
    assert result["averages"]["zero-shot"]["mean"] == pytest.approx(np.mean(english))


def test_a_run_of_one_seed(kitchen: Kitchen, tmp_path: Path) -> None:
    shutil.copytree(kitchen.topics, tmp_path / "run" / "final")
    tell(tmp_path / "run" / "final", 3)
    result = kitchen.judge(tmp_path / "run", "sib200", langs="de")
    assert result["seeds"] == [3]
    assert result["model"]["path"] == str(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "run" / "seed-1")
    for place, name in (("final", "run"), ("seed-1/final", "run/seed-1")):
        assert kitchen.judge(tmp_path / "run" / place, "sib200", langs="de")["model"]["name"] == name


def test_a_seed_that_is_not_finished(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "run" / "seed-0").mkdir(parents=True)
    with pytest.raises(InputError, match=r"seed-0: this seed is not finished: there is no final/ in it"):
        kitchen.judge(tmp_path / "run", "sib200")


def tell(final: Path, seed: int, protocol: str = "") -> None:
    """The manifest of a tuned model."""
    tuned = {"task": "sib200", "train_languages": ["eng-Latn"], "seed": seed, "protocol": protocol}
    (final / "polycompress.json").write_text(json.dumps({"schema": 1, "finetuning": tuned}))


@pytest.mark.parametrize(
    ("model", "task", "names"),
    [
        ("topics", "sib200", {"label", "probability", "cka"}),
        ("tags", "ner-wikiann", {"label", "probability", "cka"}),
        ("spans", "xquad", {"label", "cka"}),
        ("base", "retrieval-tatoeba", {"label", "cka"}),
    ],
)
def test_a_model_is_loyal_to_itself(kitchen: Kitchen, model: str, task: str, names: set[str]) -> None:
    path = getattr(kitchen, model)
    loyalty = kitchen.judge(path, task, teacher=path)["loyalty"]
    assert loyalty["teacher"] == model
    for scores in loyalty["scores"].values():
        assert scores.keys() == names
        assert all(value == pytest.approx(1, abs=1e-6) for value in scores.values())


def test_a_teacher_with_another_vocabulary(kitchen: Kitchen, tmp_path: Path) -> None:
    for head, labels, task, student in (
        ("sequence", CATEGORIES, "sib200", kitchen.topics),
        ("token", TAGS, "ner-wikiann", kitchen.tags),
    ):
        teacher = tiny("bert", head, tmp_path / head, labels, vocab_size=300, seed=5)
        loyalty = kitchen.judge(student, task, teacher=teacher)["loyalty"]
        for scores in loyalty["scores"].values():
            assert 0 <= scores["label"] <= 1
            assert 0 < scores["probability"] < 1
            assert scores["cka"] < 0.999
        assert set(loyalty["mean"]) == {"label", "probability", "cka"}


def test_mean_loyalty_counts_a_language_once(kitchen: Kitchen, tmp_path: Path) -> None:
    data = make_pack(tmp_path / "data")
    shutil.copy(data / "ner" / "uner" / "test.sv_pud.conll", data / "ner" / "uner" / "test.en_pud.conll")
    teacher = tiny("xlm-roberta", "token", tmp_path / "t", TAGS, seed=3)
    loyalty = kitchen.judge(kitchen.tags, "ner-uner", data=data, teacher=teacher)["loyalty"]
    english, *swedish = (scores["probability"] for scores in loyalty["scores"].values())
    assert len(swedish) == 2
    assert loyalty["mean"]["probability"] == pytest.approx((english + np.mean(swedish)) / 2)


def test_a_teacher_of_several_seeds(kitchen: Kitchen, tmp_path: Path) -> None:
    for seed in (0, 1):
        shutil.copytree(kitchen.topics, tmp_path / f"seed-{seed}" / "final")
    with pytest.raises(InputError, match="has 2 seeds, but loyalty is to one model"):
        kitchen.judge(kitchen.topics, "sib200", teacher=tmp_path)


def test_one_model_at_a_time(kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[weakref.ref[Any]] = []

    def open_and_watch(*arguments: Any) -> Any:
        assert not any(each() for each in opened)
        opened.append(weakref.ref(judge := open_judge(*arguments)))
        return judge

    monkeypatch.setattr("polycompress.pipelines.evaluate.open_judge", open_and_watch)
    for seed in (0, 1):
        shutil.copytree(kitchen.topics, tmp_path / f"seed-{seed}" / "final")
    kitchen.judge(tmp_path, "sib200", langs="de", teacher=kitchen.topics)
    assert len(opened) == 3
    with pytest.raises(InputError, match=r"no head for"):  # before the teacher is run
        kitchen.judge(kitchen.base, "sib200", teacher=kitchen.topics)
    assert len(opened) == 3


def test_bag_of_words_beside_the_scores(kitchen: Kitchen) -> None:
    topics = kitchen.judge(kitchen.topics, "sib200", baseline=True)["baseline"]
    assert list(topics["scores"]) == ["in-language"]
    assert set(topics["scores"]["in-language"]) == {"deu-Latn", "eng-Latn", "swh-Latn"}
    assert all(
        value > 0.9 for value in topics["scores"]["in-language"].values()
    )  # the same texts but for a word
    pairs = kitchen.judge(kitchen.pairs, "nli-sick", baseline=True)["baseline"]
    assert list(pairs["scores"]) == ["from eng-Latn", "in-language"]
    assert pairs["scores"]["from eng-Latn"]["eng-Latn"] == pairs["scores"]["in-language"]["eng-Latn"]
    assert kitchen.judge(kitchen.tags, "ner-wikiann", baseline=True)["baseline"] is None


def test_a_bag_of_words_that_cannot_be_fitted_is_a_gap(
    kitchen: Kitchen, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_pack(tmp_path / "data")
    german, swahili = (data / "sib200" / f"{code}.tsv" for code in ("deu_Latn", "swh_Latn"))
    german.write_text("".join(row for row in german.read_text().splitlines(True) if "train" not in row))
    swahili.write_text(
        "".join(
            row for row in swahili.read_text().splitlines(True) if "train" not in row or "\tsports\t" in row
        )
    )
    result = kitchen.judge(kitchen.topics, "sib200", data=data, baseline=True)
    assert set(result["baseline"]["scores"]["in-language"]) == {"eng-Latn"}
    assert "no baseline in deu-Latn: " in caplog.text
    assert "no baseline in swh-Latn: " in caplog.text
    for code in ("en", "nl"):
        table = data / "nli" / "sick" / f"train.{code}.tsv"
        head, *rows = table.read_text().splitlines()
        cells = [row.split("\t") for row in rows]
        table.write_text("\n".join([head, *("\t".join([*row[:2], "a", "a", *row[4:]]) for row in cells)]))
    assert set(kitchen.judge(kitchen.pairs, "nli-sick", data=data, baseline=True)["baseline"]["scores"]) == {
        "in-language"
    }


def test_losing_to_a_bag_of_words_is_said() -> None:
    baseline = {
        "scores": {
            "from eng-Latn": {"eng-Latn": 0.8, "deu-Latn": 0.4, "swh-Latn": 0.3},
            "in-language": {"eng-Latn": 0.9, "deu-Latn": 0.9},
        }
    }
    scores = {"eng-Latn": 0.85, "deu-Latn": 0.5, "swh-Latn": 0.2, "fra-Latn": 0.0}
    rows = [{"language": code, "subset": None, "score": score} for code, score in scores.items()]
    (note,) = losses_to_baseline(baseline, rows, ["eng-Latn"])
    assert note.endswith(": eng-Latn, swh-Latn")
    assert losses_to_baseline(baseline, rows[1:2], ["eng-Latn"]) == []
    assert losses_to_baseline(None, rows, []) == []


def test_retrieval_knows_its_own_sentences(kitchen: Kitchen, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "parallel" / "tatoeba").mkdir(parents=True)
    lines = [f"{text}\t{text}" for text in TEXTS]
    (data / "parallel" / "tatoeba" / "deu-eng.tsv").write_text("\n".join(["deu\teng", *lines]))
    (row,) = kitchen.judge(kitchen.base, "retrieval-tatoeba", data=data)["scores"]
    assert row["score"] == 1
    assert all(value == 1 for value in row["details"].values())


def test_a_model_without_the_head(kitchen: Kitchen) -> None:
    with pytest.raises(InputError, match=r"no head for .* polycompress finetune .* --task sib200"):
        kitchen.judge(kitchen.base, "sib200")
    with pytest.raises(InputError, match=r"labels \(id2label\) are entailment, neutral, contradiction, but"):
        kitchen.judge(kitchen.pairs, "sib200")


def test_labels_in_another_order(kitchen: Kitchen, tmp_path: Path) -> None:
    path = tmp_path / "turned"
    shutil.copytree(kitchen.pairs, path)
    config = json.loads((path / "config.json").read_text())
    config["id2label"] = {str(2 - n): name for n, name in enumerate(INFERENCES)}
    config["label2id"] = {name: 2 - n for n, name in enumerate(INFERENCES)}
    (path / "config.json").write_text(json.dumps(config))
    turned, straight = (kitchen.judge(each, "nli-sick") for each in (path, kitchen.pairs))
    assert turned["scores"] != straight["scores"]


def test_all_wrong_settings_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"precision": "fp8", "batch_tokens": 1, "seed": -1, "max_lenght": 3})
    message = str(caught.value)
    assert "The configuration of eval is wrong" in message
    assert "precision is 'fp8'" in message
    assert "max_lenght is no field. Did you mean max_length?" in message
    with pytest.raises(
        ConfigError, match=r"batch_tokens is 1: give at least 16\n  seed is -1: give at least 0"
    ):
        EvaluationSettings(batch_tokens=1, seed=-1)


def test_size_and_identity_of_the_model(kitchen: Kitchen) -> None:
    result = kitchen.judge(kitchen.topics, "sib200", langs="de")
    model = result["model"]
    assert model["parameters"]["total"] > model["parameters"]["embedding"] > 0
    assert model["bytes"] == (kitchen.topics / "model.safetensors").stat().st_size
    assert model["manifest_sha256"] is None
    assert result["identity"] == kitchen.judge(kitchen.topics, "sib200", langs="deu")["identity"]
    assert result["identity"] != kitchen.judge(kitchen.topics, "sib200", langs="sw")["identity"]
    assert Part("deu-Latn") in stored_scores(plain(result), Path("x"))


def test_published_scores_beside_those_of_the_same_protocol(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = find_task("sib200").protocol
    entries = tuple(
        Published(
            task="sib200", model=name, protocol=spoken, source="https://example.org", average=0.5, average_over=2,
            scores={Part("deu-Latn"): 0.75},
        )
        for name, spoken in (("same", protocol), ("other", "trained on the test set"))
    )  # fmt: skip
    monkeypatch.setattr(evaluate_published, "published_scores", lambda task: entries)
    model = tmp_path / "model"
    shutil.copytree(kitchen.topics, model)
    unknown = kitchen.judge(model, "sib200")
    assert unknown["published"] == []
    assert unknown["notes"][0].startswith(
        "not comparable with published scores: not known, or not true, of this"
    )
    tell(model, 0, protocol)
    (beside,) = kitchen.judge(model, "sib200")["published"]
    assert (beside["model"], beside["scores"]) == ("same", {"deu-Latn": 0.75})
    for options in ({"limit": 2}, {"split": "dev"}):
        cut = kitchen.judge(model, "sib200", **options)
        assert cut["published"] == []
        assert "they are of the whole test split" in cut["notes"][0]
    tell(model, 0, "trained on something else")
    assert kitchen.judge(model, "sib200")["published"] == []


def test_local_examples_that_are_others(kitchen: Kitchen) -> None:
    result = kitchen.judge(kitchen.spans, "xquad")
    assert result["published"] == []
    assert "published models are trained on SQuAD" in result["notes"][0]


def test_without_a_network_it_names_the_data_directory(kitchen: Kitchen) -> None:
    with pytest.raises(InputError, match="--data DIR"):
        kitchen.judge(kitchen.tags, "ner-wikiann", data=None, langs="de")
