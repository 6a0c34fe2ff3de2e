"""Planning: what fits a budget, to the byte, and what does not."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polycompress import trim
from polycompress.errors import InputError
from polycompress.languages import find_languages
from polycompress.pipelines.plan import BudgetPlan, least_tokens, model_cost, plan
from polycompress.pipelines.trimming.loading import open_model
from polycompress.vocab.planning import Unit
from tests.tiny_models import TEXTS, make_tiny

MODELS: Mapping[str, Mapping[str, Any]] = {
    "tied unigram": {"family": "xlm-roberta", "head": "mlm"},
    "untied bpe": {"family": "llama", "head": "clm", "tied": False},
    "tied byte-level bpe": {"family": "gpt2", "head": "clm"},
    "untied t5": {"family": "mt5", "head": "s2s", "tied": False},
    "half precision": {"family": "bert", "head": "mlm", "dtype": "bfloat16"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: make_tiny(directory=folder / name.replace(" ", "-"), vocab_size=500, **recipe)
        for name, recipe in MODELS.items()
    }


def written(amount: int, unit: Unit) -> str:
    """A budget to the last byte."""
    return f"{amount // 1000}.{amount % 1000:03}" + ("KB" if unit == "bytes" else "K")


def measured(directory: Path, unit: Unit) -> int:
    files = sorted(directory.glob("*.safetensors"))
    if unit == "bytes":
        return sum(file.stat().st_size for file in files)
    return sum(math.prod(info.shape) for info in open_model(directory).checkpoint.tensors.values())


def half_way(source: Path, unit: Unit, multiple: int, langs: str = "de") -> int:
    """A budget between what must be kept and all that is used, and half a row more than it takes."""
    opened = open_model(source)
    used = plan(source, langs=langs, budget="1GB").planned.tokens
    tokens = (least_tokens(opened, find_languages(langs)) + used) // 2
    rows = tokens + -tokens % multiple
    fits, too_much = (model_cost(opened, each).of(unit) for each in (rows, rows + 1))
    return (fits + too_much) // 2


@pytest.mark.parametrize("multiple", [1, 16])
@pytest.mark.parametrize("unit", ["bytes", "parameters"])
@pytest.mark.parametrize("name", MODELS)
def test_the_trimmed_model_fits_and_one_more_token_would_not(
    name: str, unit: Unit, multiple: int, models: Mapping[str, Path], tmp_path: Path
) -> None:
    source = models[name]
    budget = half_way(source, unit, multiple)
    found = plan(source, langs="de", budget=written(budget, unit), pad_to_multiple_of=multiple)
    assert found.budget.value == budget
    trim(source, langs="de", size=found.size, pad_to_multiple_of=multiple, out=tmp_path / "fits")
    assert measured(tmp_path / "fits", unit) == found.planned.cost.of(unit) <= budget
    # The next size is over the budget, and so is a model that is trimmed to it.
    more = found.size + 1
    assert model_cost(open_model(source), more + -more % multiple).of(unit) > budget
    larger = trim(source, langs="de", size=more, pad_to_multiple_of=multiple, out=tmp_path / "more")
    if len(larger.plan.keep_ids) == more:
        assert measured(tmp_path / "more", unit) > budget
    else:  # the next token by rank needs others that do not fit beside it
        assert "bpe" in name


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_of_the_files(name: str, models: Mapping[str, Path]) -> None:
    opened = open_model(models[name])
    for unit in ("bytes", "parameters"):
        assert model_cost(opened, opened.axes.rows).of(unit) == measured(models[name], unit)


def test_only_files_with_tables_change(models: Mapping[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "shards"
    source.mkdir()
    for file in models["tied unigram"].iterdir():
        if file.suffix == ".json":
            (source / file.name).write_bytes(file.read_bytes())
    tensors = load_file(models["tied unigram"] / "model.safetensors")
    shards: dict[str, dict[str, np.ndarray]] = {"1": {}, "2": {}, "3": {}}
    for index, (tensor, values) in enumerate(sorted(tensors.items())):
        shards[str(index % 3 + 1)][tensor] = values
    weight_map = {}
    for number, part in shards.items():
        save_file(part, source / f"model-{number}.safetensors", metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, f"model-{number}.safetensors")
    index_file = source / "model.safetensors.index.json"
    index_file.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    budget = half_way(source, "bytes", 1)
    found = plan(source, langs="de", budget=written(budget, "bytes"))
    trim(source, langs="de", size=found.size, out=tmp_path / "out")
    assert measured(tmp_path / "out", "bytes") == found.planned.cost.bytes <= budget


def test_what_is_found(models: Mapping[str, Path]) -> None:
    source = models["tied unigram"]
    budget = half_way(source, "bytes", 1, "de,tr")
    found = plan(source, langs="de,tr", budget=written(budget, "bytes"))
    whole = model_cost(open_model(source), open_model(source).axes.rows)
    assert found.whole == whole
    assert found.fixed.parameters < found.planned.cost.parameters < whole.parameters
    assert found.planned.tokens <= found.size
    default = trim(source, langs="de,tr", dry_run=True).plan
    assert found.default.tokens == len(default.keep_ids)
    assert found.default.coverage == default.coverage
    assert found.default_fits is (found.default.cost.bytes <= budget)
    assert found.loses_most == min(found.planned.coverage, key=lambda code: found.planned.coverage[code])
    for code in ("deu-Latn", "tur-Latn"):
        assert found.planned.coverage[code] <= 1
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["budget"] == {"bytes": budget}
    assert plain["planned"]["tokens"] == found.planned.tokens


def test_held_out_texts_count_as_unchanged_where_all_their_tokens_stay(
    models: Mapping[str, Path], tmp_path: Path
) -> None:
    text = tmp_path / "de.txt"
    text.write_text("\n".join(f"{line} {n}" for n in range(60) for line in TEXTS[:4]), encoding="utf-8")
    source, asked = models["tied unigram"], {"langs": "de", "corpus": str(text)}
    opened = open_model(source)
    shares = []
    for tokens in (least_tokens(opened, find_languages("de")), 10_000):
        cost = model_cost(opened, tokens).bytes
        found = plan(source, budget=written(cost, "bytes"), **asked)
        certified = trim(source, size=found.size, out=tmp_path / f"of-{tokens}", **asked).certificate
        assert certified is not None
        checked = certified.languages["deu-Latn"]
        assert found.planned.unchanged["deu-Latn"] == pytest.approx(checked.kept_only / checked.texts)
        shares.append(found.planned.unchanged["deu-Latn"])
    assert shares[0] < shares[1] == 1.0


def test_the_command_is_the_trim_that_was_planned(models: Mapping[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "some text.txt"
    text.write_text("\n".join(f"Straße und Haus {n}" for n in range(99)), encoding="utf-8")
    found = plan(
        models["tied unigram"],
        langs="German",
        budget="1M",
        corpus=f"de={text}",
        frequencies=False,
        pad_to_multiple_of=8,
    )
    assert shlex.split(found.as_dict()["command"]) == [
        *("polycompress", "trim", str(models["tied unigram"]), "--langs", "deu-Latn"),
        *("--corpus", f"de={text}", "--size", str(found.size), "--no-frequencies"),
        *("--pad-to-multiple-of", "8", "--out", "trimmed"),
    ]


def test_a_budget_beyond_the_model_keeps_all_that_is_used(models: Mapping[str, Path]) -> None:
    found = plan(models["tied unigram"], langs="de", budget="1GB")
    assert found.size == open_model(models["tied unigram"]).vocabulary.size
    assert found.default_fits
    assert found.loses_most is None
    assert found.planned.coverage["deu-Latn"] == pytest.approx(1.0)


@pytest.mark.parametrize("unit", ["bytes", "parameters"])
def test_the_least_budget_is_named_and_holds(unit: Unit, models: Mapping[str, Path]) -> None:
    source = models["untied bpe"]
    opened = open_model(source)
    fixed = model_cost(opened, 0).of(unit)
    with pytest.raises(InputError, match="the part that is no vocabulary alone takes") as error:
        plan(source, langs="de", budget=written(fixed // 2, unit))
    assert "tokens must be kept" not in str(error.value)
    with pytest.raises(InputError, match=r"and \d+ tokens must be kept .* The least budget is ") as error:
        plan(source, langs="de", budget=written(fixed + 100, unit), pad_to_multiple_of=8)
    least = str(error.value).partition("The least budget is ")[2].split(" ")[0]
    found: BudgetPlan = plan(source, langs="de", budget=least, pad_to_multiple_of=8)
    assert found.planned.tokens <= found.size
    assert found.planned.cost.of(unit) <= found.budget.value
    exact = str(error.value).rpartition("(")[2].split(" ")[0].replace(",", "")
    with pytest.raises(InputError, match="too small for"):
        plan(source, langs="de", budget=written(int(exact) - 1, unit), pad_to_multiple_of=8)


def test_wrong_requests_are_refused(models: Mapping[str, Path], tmp_path: Path) -> None:
    source = models["tied unigram"]
    with pytest.raises(InputError, match="--budget '20' does not say of what"):
        plan(source, langs="de", budget="20")
    with pytest.raises(InputError, match="--pad-to-multiple-of is a number of rows from 1"):
        plan(source, langs="de", budget="1M", pad_to_multiple_of=0)
    with pytest.raises(InputError, match="no built-in word frequencies for Swahili"):
        plan(source, langs="sw", budget="1M")
    with pytest.raises(InputError, match="no such counts file"):
        plan(source, langs="de", budget="1M", counts=tmp_path / "none.npz")
