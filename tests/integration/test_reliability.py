"""Damaged files, a full disk, hostile links and pickles, two processes on one output, large checkpoints."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from eval.reliability import disk, fuzzed, larder, links, memory, pickles, races
from eval.reliability.judging import faults_of
from eval.reliability.mutations import damage_header, damage_json
from eval.reliability.subjects import KINDS, SUBJECTS
from eval.reliability.warm import Ending, Warm
from tests.pipelines.tiny_pack import make_pack

pytestmark = pytest.mark.integration

LIGHT = tuple(subject for subject in SUBJECTS if subject.room in ("models", "recipes") and not subject.torch)


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return larder.fill(tmp_path_factory.mktemp("larder"), ("models", "recipes"))


def test_sixty_damaged_inputs(stock: Path, tmp_path: Path) -> None:
    found = fuzzed.measure(tmp_path, stock, numbers=range(60), seed=1, subjects=LIGHT, workers=2)
    assert found.faults == []
    counts = found.figures["all"]
    assert counts["cases"] == 60
    assert counts["done"] >= 5, "some damage is harmless"
    assert counts["refused"] >= 20


@pytest.mark.slow
def test_two_thousand_damaged_inputs(tmp_path: Path) -> None:
    found = fuzzed.measure(
        tmp_path / "work", larder.fill(tmp_path / "larder"), numbers=range(2000), seed=2, workers=2
    )
    assert found.faults == []
    assert found.figures["all"]["cases"] == 2000


@pytest.mark.parametrize("suffix", KINDS)
def test_damage_is_drawn_by_the_seed(suffix: str) -> None:
    content = b'{"a": [1, "x"], "b": {"c": 2.5}}\nkey = "value"\nname: [a, b]\n'
    for mutation in KINDS[suffix]:
        drawn = [mutation(random.Random(seed), content) for seed in range(60)]
        assert drawn == [mutation(random.Random(seed), content) for seed in range(60)]
        assert len({damaged for _, damaged in drawn}) > 10
        assert sum(damaged != content for _, damaged in drawn) > 40
        assert max(len(damaged) for _, damaged in drawn) < 8 << 20


def test_what_no_parser_reads_any_more_is_damaged_further() -> None:
    deep = b"[" * 100_000
    for mutation in (damage_json, damage_header):
        content = deep if mutation is damage_json else len(deep).to_bytes(8, "little") + deep
        assert any(mutation(random.Random(seed), content)[1] != content for seed in range(5))


def test_a_fault_is_found(tmp_path: Path) -> None:
    """What the cases are judged by does see a stray file, a traceback and a hang."""
    (tmp_path / "out.html").write_text("<p onclick=x>", encoding="utf-8")
    (tmp_path / "out").mkdir()
    printed = "Traceback (most recent call last):\n  File x\nValueError: no"
    ending = Ending(
        code=-9,
        on_time=False,
        seconds=61,
        cpu_seconds=11,
        peak_bytes=2 * 10**9,
        output=printed + "x" * 100_000,
    )
    words = "; ".join(faults_of(ending, tmp_path))
    for part in (
        "not done after 60",
        "11.0 seconds of processors",
        "a traceback",
        "2.00 GB",
        "characters printed",
        "<p onclick>",
    ):
        assert part in words


@pytest.mark.parametrize("name", ["trim", "trim over an old output", "count"])
def test_a_full_disk(tmp_path: Path, name: str) -> None:
    if reason := disk.unavailable():
        pytest.skip(reason)
    spec = disk.specs(tmp_path)[name]
    for moment in disk.carry_out(tmp_path, spec, [0.0, 0.5, 0.9]):
        assert disk.faults(moment, spec) == [], moment
        assert moment["code"] == 1, moment
        assert "the disk is full" in moment["printed"]


@pytest.mark.slow
def test_a_full_disk_at_twenty_moments(tmp_path: Path) -> None:
    found = disk.measure(tmp_path, cases=20, seed=3)
    if found.unmeasured:
        pytest.skip(found.unmeasured)
    assert found.faults == []


@pytest.mark.slow
def test_links_that_lead_out(stock: Path, tmp_path: Path) -> None:
    found = links.measure(tmp_path, stock)
    assert found.faults == []
    assert found.figures["refused"] >= 96, "trim reads every file"


def test_pickles_are_not_loaded(stock: Path, tmp_path: Path) -> None:
    make_pack(stock / "data", examples=6)
    commands = tuple(each for each in pickles.COMMANDS if each[0] in ("inspect", "trim", "mlm"))
    found = pickles.measure(tmp_path, stock, commands)
    assert found.faults == []
    assert found.figures["loaded"] == 0
    assert 0 < found.figures["refused"] < found.figures["runs"]


def test_the_payload_would_be_seen(tmp_path: Path) -> None:
    import pickle

    pickle.loads(pickles.payload(tmp_path / "mark"))
    assert (tmp_path / "mark").is_dir()


def test_two_processes_on_one_output(tmp_path: Path) -> None:
    command, file = races.commands(tmp_path / "kitchen")["mlm --resume"]
    (tmp_path / "desk").mkdir()
    with (
        Warm(tmp_path / "log-0", races.TORCH, races.QUIET) as one,
        Warm(tmp_path / "log-1", races.TORCH, races.QUIET) as two,
    ):
        endings = races.both((one, two), command, tmp_path / "desk", 0.0)
    wanted = races.digest(tmp_path / "desk" / "out" / file)
    assert wanted
    assert races.faults(endings, tmp_path / "desk" / "out", file, wanted) == []


@pytest.mark.slow
def test_two_processes_on_one_output_again_and_again(tmp_path: Path) -> None:
    assert races.measure(tmp_path, cases=3, seed=4).faults == []


def test_memory_does_not_grow_with_the_checkpoint(tmp_path: Path) -> None:
    """Half a gigabyte of holes; the bound lies below what reading a table would take."""
    found = memory.measure(tmp_path, gigabytes=1.0)
    assert found.faults == []
    large, small = (found.figures[f"{name} checkpoint"] for name in ("large", "small"))
    assert large["bytes of its weights"] > 10 * small["bytes of its weights"]
    assert large["peak bytes"] < small["peak bytes"] + large["bytes kept"] + (64 << 20)


@pytest.mark.slow
def test_memory_of_eight_gigabytes(tmp_path: Path) -> None:
    assert memory.measure(tmp_path, gigabytes=8.0).faults == []
