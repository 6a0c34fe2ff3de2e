from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.evaluation.speed_loading import Loading
from polycompress.evaluation.speed_memory import Memory, can_measure
from polycompress.pipelines import bench as bench_module
from polycompress.pipelines.bench import bench
from polycompress.pipelines.judging.bench_models import find_bench_models
from tests.tiny_models import make_tiny


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Pretend that models were loaded in processes, which take seconds to start; what they were asked for."""
    asked: list[dict[str, object]] = []

    def pretend(path: Path, **request: object) -> Loading:
        asked.append({"name": path.name, **request})
        memory = Memory(peak_mib=400.0, loaded_mib=380.0, libraries_mib=300.0, mapped_mib=0.0)
        return Loading(
            libraries_seconds=3.0, model_seconds=float(len(asked)), tokenizer_seconds=None, memory=memory
        )

    monkeypatch.setattr(bench_module, "measure_loading", pretend)
    return asked


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_tiny("xlm-roberta", "sequence", root / "large", padding_rows=2000, num_hidden_layers=6)
    make_tiny("xlm-roberta", "sequence", root / "small")
    make_tiny("gpt2", "clm", root / "decoder")
    return root


def test_models_side_by_side(models: Path, no_processes: list[dict[str, object]]) -> None:
    told: list[tuple[str, int, int | None]] = []
    names = ("large", "small", "decoder")
    found = bench(
        [models / name for name in names], batches=(4,), lengths=(8, 24), precisions=["fp32"], rounds=2,
        device="cpu", progress=lambda *each: told.append(each), command=["polycompress", "bench"],
    ).as_dict()  # fmt: skip
    json.dumps(found, allow_nan=False)
    assert (found["schema"], found["kind"]) == (1, "bench")
    assert tuple(each["name"] for each in found["models"]) == names
    large, small, decoder = found["models"]
    assert large["parameters"]["total"] > small["parameters"]["total"]
    assert large["parameters"]["embedding"] - small["parameters"]["embedding"] == (2000 - 5) * 16
    assert decoder["architecture"] == "GPT2LMHeadModel"
    assert large["bytes"]["weights"] == (models / "large" / "model.safetensors").stat().st_size
    files = [each for each in (models / "large").rglob("*") if each.is_file()]
    assert large["bytes"]["all"] == sum(each.stat().st_size for each in files)
    assert small["bytes"]["tokenizer"] == (models / "small" / "tokenizer.json").stat().st_size
    for each in found["models"]:
        assert [(t["length"], t["batch"], t["turns"]) for t in each["timings"]] == [
            (8, 1, 20), (8, 4, 2), (24, 1, 20), (24, 4, 2),
        ]  # fmt: skip
        assert all(0 < t["p50_ms"] <= t["p95_ms"] for t in each["timings"])
        loading = each["loading"]["fp32"]
        assert loading["processes"] == 2
        assert loading["memory"]["model_mib"] == 100.0
        assert loading["memory"]["accelerator_mib"] is None
    assert [each["name"] for each in no_processes] == [*names, *names]
    assert no_processes[0] == {
        "name": "large", "precision": "fp32", "device": "cpu", "threads": found["settings"]["threads"], "batch": 4,
        "length": 24, "body": False,
    }  # fmt: skip
    assert [each["loading"]["fp32"]["seconds"] for each in found["models"]] == [2.5, 3.5, 4.5]
    assert found["ratios"]["loading, fp32"]["seconds"] == [1.0, 3.5 / 2.5, 4.5 / 2.5]
    ratios = found["ratios"]
    assert ratios["parameters"]["total"][0] == 1.0
    assert ratios["parameters"]["total"][1] == small["parameters"]["total"] / large["parameters"]["total"]
    assert len(ratios["speed"]) == 4
    assert all(row["speedup"][0] == 1.0 and len(row["speedup"]) == 3 for row in ratios["speed"])
    assert ratios["speed"][3]["speedup"][1] > 1.2  # a third of the layers
    assert set(ratios["loading, fp32"]) == {"seconds", "peak_mib", "model_mib"}
    assert found["settings"]["threads"] >= 1
    assert found["machine"]["cores"] >= 1
    assert "torch" in found["versions"]
    assert sum(amount for label, amount, _ in told if label.startswith("loading")) == 6
    assert sum(amount for label, amount, _ in told if label.startswith("timing")) == 4


def test_a_process_for_each_loading(models: Path) -> None:
    found = bench([models / "small"], batches=(2,), lengths=(8,), precisions=["fp32"], rounds=1, device="cpu")
    loading = found.models[0]["loading"]["fp32"]
    assert loading["processes"] == 1
    assert 0 < loading["seconds"] < loading["libraries_seconds"]
    if can_measure():
        assert 0 < loading["memory"]["model_mib"] < loading["memory"]["libraries_mib"]


@pytest.mark.usefixtures("no_processes")
def test_a_model_against_itself(models: Path) -> None:
    path = models / "small"
    found = bench([path, path], batches=(2,), lengths=(16,), precisions=["fp32"], rounds=5, device="cpu")
    assert [each["name"] for each in found.models] == ["small", str(path)]
    assert found.ratios["bytes"]["all"] == [1.0, 1.0]
    assert found.ratios["speed"][0]["speedup"][1] == pytest.approx(1.0, abs=0.3)


@pytest.mark.usefixtures("no_processes")
def test_both_precisions_where_the_device_has_them(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "has_bf16", lambda device: True)
    found = bench([models / "small"], batches=(1,), lengths=(8,), rounds=1, device="cpu")
    assert found.settings["precisions"] == ("fp32", "bf16")
    assert [each["precision"] for each in found.models[0]["timings"]] == ["fp32", "bf16"]
    monkeypatch.setattr(bench_module, "has_bf16", lambda device: False)
    with pytest.raises(InputError, match="precision is 'bf16', which this processor cannot compute in"):
        bench([models / "small"], precisions=["bf16"], device="cpu")


@pytest.mark.usefixtures("no_processes")
def test_heads_can_be_left_out(models: Path) -> None:
    found = bench([models / "small"], lengths=(8,), batches=(1,), precisions=["fp32"], rounds=1, body=True)
    whole = bench([models / "small"], lengths=(8,), batches=(1,), precisions=["fp32"], rounds=1)
    assert found.models[0]["parameters"]["total"] < whole.models[0]["parameters"]["total"]


def test_a_model_that_is_not_there_is_found_out_first(models: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        bench([models / "small", tmp_path / "none"], device="cpu")
    with pytest.raises(InputError, match="There is no model to measure"):
        bench([], device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"config\.json: no such file"):
        find_bench_models([tmp_path / "empty"])


def test_runs_stand_for_their_models(models: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"settings": {}}')
    (run / "final").symlink_to(models / "small")
    seeds = tmp_path / "seeds"
    for seed in (1, 0):
        (seeds / f"seed-{seed}").mkdir(parents=True)
        (seeds / f"seed-{seed}" / "final").symlink_to(models / "small")
    assert [each.path for each in find_bench_models([run, seeds])] == [
        run / "final",
        seeds / "seed-0" / "final",
    ]
    assert [each.name for each in find_bench_models([run, seeds, run, run])] == [
        "run",
        "seeds",
        str(run),
        f"{run} (2)",
    ]


def test_hidden_files_do_not_count(models: Path) -> None:
    before = find_bench_models([models / "decoder"])[0].all_bytes
    (models / "decoder" / ".cache").mkdir()
    (models / "decoder" / ".cache" / "x").write_bytes(b"x" * 1000)
    (models / "decoder" / "notes").mkdir()
    (models / "decoder" / "notes" / "x").write_bytes(b"x" * 10)
    assert find_bench_models([models / "decoder"])[0].all_bytes == before + 10
