from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from polycompress.pipelines.recipes.planning import Plan, tree_bytes
from polycompress.pipelines.recipes.sizes import RESULTS, extent_of
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, recipe_of, run, write_recipe
from tests.tiny_models import make_tiny

TEXT = {"max-length": 48, "device": "cpu"}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kitchen(tmp_path_factory.mktemp("kitchen"))


def plan(kitchen: Path, *stages: Any) -> Plan:
    path = write_recipe(kitchen, recipe_of(*stages))
    return run(path, kitchen / "nowhere", dry_run=True).plan


def at_most(kitchen: Path, *stages: Any) -> list[int | None]:
    return [each.at_most for each in plan(kitchen, *stages).stages]


def test_a_model_that_is_there_is_as_large_as_its_files(kitchen: Path) -> None:
    found = extent_of(kitchen / "model")
    assert found is not None
    headers = found.bytes - tree_bytes(kitchen / "model")
    assert abs(headers) < 20_000
    assert found.rows == AutoConfig.from_pretrained(kitchen / "model").vocab_size
    assert len(found.table) >= 1


def test_what_is_no_model_has_no_extent(kitchen: Path, tmp_path: Path) -> None:
    assert extent_of(kitchen / "data") is None
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert extent_of(tmp_path) is None


def test_a_size_that_is_asked_for_cuts_the_table_alone(kitchen: Path) -> None:
    sized = {**SMALL, "options": {"size": 100, "no-frequencies": True}}
    whole, half = at_most(kitchen, SMALL)[0], at_most(kitchen, sized)[0]
    extent = extent_of(kitchen / "model")
    assert extent is not None
    assert whole == extent.bytes + RESULTS
    table = sum(extent.tensors[name] for name in extent.table) * extent.width
    assert half is not None
    assert whole - half == pytest.approx(table * (1 - 100 / extent.rows), abs=8)


def test_a_student_has_the_layers_that_are_asked_for(kitchen: Path) -> None:
    def student(layers: int) -> int:
        options = {"no-trim": True, "layers": layers, "steps": 2}
        (found,) = at_most(kitchen, {"name": "student", "do": "bistil general", "options": options})
        assert found is not None
        return found

    extent = extent_of(kitchen / "model")
    assert extent is not None
    assert student(2) == 2 * extent.bytes + RESULTS
    layer = sum(values for name, values in extent.tensors.items() if ".layer.1." in name) * extent.width
    assert student(2) - student(1) == 2 * layer


def test_a_student_that_is_there_keeps_its_size(kitchen: Path) -> None:
    make_tiny("xlm-roberta", "base", kitchen / "wide", vocab_size=350, hidden_size=96, num_hidden_layers=4)
    (kitchen / "inner.yaml").write_text(
        "stages: [{name: words, task: sib200, teacher: none, steps: 2}]\n", encoding="utf-8"
    )
    own = {"student": "./wide"}
    general, after, _, last = at_most(
        kitchen,
        {"name": "student", "do": "bistil general", "options": {**own, "no-trim": True, "steps": 2}},
        {"name": "plain", "do": "export", "options": {"sentence-transformers": True}},
        {"name": "taught", "do": "distil", "model": "model", "options": {**own, "config": "inner.yaml"}},
        {"name": "last", "do": "export", "options": {"sentence-transformers": True}},
    )
    extent = extent_of(kitchen / "wide")
    assert extent is not None
    assert general == 2 * extent.bytes + RESULTS
    assert after is not None
    assert extent.bytes < after < 1.5 * extent.bytes + 3 * RESULTS
    assert last is not None
    assert last > extent.bytes


def test_experts_and_other_tokenizers_are_not_known(kitchen: Path) -> None:
    stages = (
        {"name": "experts", "do": "moe upcycle", "options": {"layers": 1}},
        {"name": "routed", "do": "moe train", "options": {"teacher": "model", "steps": 2}},
        {"name": "speed", "do": "bench", "models": ["model"]},
    )
    found = plan(kitchen, *stages)
    assert [each.at_most for each in found.stages] == [None, None, RESULTS]
    assert found.at_most == RESULTS
    assert found.as_dict()["unknown"] == {
        "bytes": ["experts", "routed"],
        "seconds": ["experts", "routed", "speed"],
    }


def test_what_is_trained_may_take_four_bytes_a_value(kitchen: Path) -> None:
    make_tiny("xlm-roberta", "base", kitchen / "half", vocab_size=350, dtype="bfloat16")
    stage = {"name": "more", "do": "mlm", "model": "./half", "options": {"steps": 2, **TEXT}}
    (found,) = at_most(kitchen, stage)
    wide, narrow = extent_of(kitchen / "model"), extent_of(kitchen / "half")
    assert found is not None and wide is not None and narrow is not None
    assert narrow.bytes < 0.8 * wide.bytes
    assert found > wide.bytes
