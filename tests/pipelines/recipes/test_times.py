from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.speed_table import BENCH_KIND
from polycompress.pipelines.recipes.times import TIMES, split, take_times

_NAMES = st.sampled_from([*sorted(TIMES), "loss", "kind", "steps"])
_TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_NAMES, below, max_size=4),
    max_leaves=15,
)


def names(value: Any) -> set[str]:
    """Of all fields that hold no further ones."""
    if isinstance(value, dict):
        own = {name for name, each in value.items() if name == "machine" or not isinstance(each, dict | list)}
        return own.union(*map(names, value.values()))
    return set().union(*map(names, value)) if isinstance(value, list) else set()


def joined(rest: Any, times: Any) -> Any:
    """What was taken, put back."""
    if times is None:
        return rest
    if isinstance(rest, list):
        return [joined(each, times.get(str(place))) for place, each in enumerate(rest)]
    if not isinstance(rest, dict):
        return times
    every = {**rest, **times}
    return {name: joined(rest[name], times.get(name)) if name in rest else times[name] for name in every}


@given(_TREES)
def test_nothing_is_lost_and_no_time_stays(value: Any) -> None:
    rest, times = split(value)
    assert joined(rest, times) == value
    assert not names(rest) & TIMES
    assert split(rest) == (rest, None)


def test_times_are_taken_out_of_what_commands_write(tmp_path: Path) -> None:
    manifest = {
        "tool": {"name": "polycompress"},
        "created": "today",
        "training": {"seconds": 1.5, "steps": 2},
        "source": {"spec": f"{tmp_path}/stages/1-first/final", "name": f"not{tmp_path}"},
    }
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "polycompress.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (tmp_path / "final" / "README.md").write_text(
        f"# Card\n- Date: 2026-01-01\n- Seed: 0\n- Source: `{tmp_path}/stages`\n"
    )
    other = '{"created": "by somebody else",   "seconds": 1}'
    (tmp_path / "final" / "config.json").write_text(other)
    (tmp_path / "config.json").write_text('{\n "tool": {}, "settings": {}\n}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "seconds": 0.5}\n{"step": 2, "seconds": 0.7}\n')
    bench = json.dumps({"kind": BENCH_KIND, "seconds": 3.0})
    (tmp_path / "bench.json").write_text(bench)
    (tmp_path / "sib200.md").write_text(
        "| 1 |\n\nMade by `polycompress eval x on 2026-01-01` on 2026-01-01.\n"
    )
    result = {"kind": "evaluation", "date": "2026-01-01", "machine": {"cores": 2}, "scores": []}
    (tmp_path / "sib200.json").write_text(json.dumps(result, indent=1))
    (tmp_path / "snapshots" / "step-2").mkdir(parents=True)
    taken = take_times(tmp_path, Path("stages/1-run"))
    assert taken == {
        "final/polycompress.json": {"created": "today", "training": {"seconds": 1.5}},
        "metrics.jsonl": [{"seconds": 0.5}, {"seconds": 0.7}],
        "sib200.json": {"date": "2026-01-01", "machine": {"cores": 2}},
    }
    rest = json.loads((tmp_path / "final" / "polycompress.json").read_text())
    assert rest["training"] == {"steps": 2}
    assert rest["source"] == {"spec": "stages/1-run/stages/1-first/final", "name": f"not{tmp_path}"}
    assert (tmp_path / "final" / "polycompress.json").read_text().startswith('{\n  "tool": {\n')
    assert (tmp_path / "final" / "README.md").read_text() == (
        "# Card\n- Seed: 0\n- Source: `stages/1-run/stages`\n"
    )
    assert (tmp_path / "final" / "config.json").read_text() == other
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (tmp_path / "sib200.md").read_text().endswith("Made by `polycompress eval x on 2026-01-01`.\n")
    assert (tmp_path / "bench.json").read_text() == bench
    assert not (tmp_path / "snapshots").exists()
    assert take_times(tmp_path, Path("stages/1-run")) == {}
