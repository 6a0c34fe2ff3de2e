"""Inside a mount namespace of its own: commands on a small disk of memory that is full after so many bytes.

    unshare -Urm python -m eval.reliability.disk_program SPEC

SPEC is a JSON file, see ``disk.py``; the last line printed is a JSON list with one object for each moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from eval.reliability.warm import LIGHT, TORCH, Ending, Warm
from eval.reliability.watching import changes, snapshot

PLENTY = 1 << 30
PATIENCE = 600.0


def main() -> None:
    """Carry out a spec."""
    spec = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    disk = Path(spec["disk"])
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={PLENTY}", "tmpfs", str(disk)], check=True)
    variables = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "POLYCOMPRESS_CACHE": spec["cache"]}
    with Warm(Path(spec["log"]), TORCH if spec.get("torch") else LIGHT, variables) as warm:
        print(json.dumps([_one(warm, disk, spec, share) for share in spec["shares"]]))


def _one(warm: Warm, disk: Path, spec: dict[str, Any], share: float) -> dict[str, Any]:
    """Prepare, find out what the whole takes, and do it again with less than that."""
    whole = _fresh(warm, disk, spec)
    before = _used(disk)
    wanted_code = _run(warm, disk, spec["command"]).code
    wanted, needed = _lasting(disk, spec), _used(disk) - before
    assert wanted_code == 0, "the command ends well with room enough"
    assert _fresh(warm, disk, spec) == whole or not spec["before"]
    room = int(share * needed)
    before_files = snapshot(disk)
    _resize(disk, _used(disk) + max(room, 1))
    ending = _run(warm, disk, spec["command"])
    after = snapshot(disk)
    _resize(disk, PLENTY)
    again = _run(warm, disk, spec.get("again") or spec["command"])
    return {
        "room_bytes": room,
        "needed_bytes": needed,
        "code": ending.code,
        "printed": ending.output[-400:],
        "traceback": "Traceback" in ending.output,
        "changes": changes(before_files, after),
        "again": again.code,
        "again_printed": again.output[-400:] if again.code else "",
        "same": _lasting(disk, spec) == wanted,
    }


def _fresh(warm: Warm, disk: Path, spec: dict[str, Any]) -> dict[str, str]:
    for entry in disk.iterdir():
        subprocess.run(["rm", "-rf", str(entry)], check=True)
    for command in spec["before"]:
        ending = _run(warm, disk, command)
        assert ending.code == 0, ending.output
    return _lasting(disk, spec)


def _run(warm: Warm, disk: Path, command: list[str]) -> Ending:
    return warm.run(command, cwd=disk, seconds=PATIENCE)


def _resize(disk: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def _used(disk: Path) -> int:
    shown = subprocess.run(
        ["df", "--block-size=1", "--output=used", str(disk)], check=True, capture_output=True, text=True
    )
    return int(shown.stdout.split()[-1])


def _lasting(disk: Path, spec: dict[str, Any]) -> dict[str, str]:
    """Files of the output that every run writes alike."""
    return {
        name: state
        for name, state in snapshot(disk).items()
        if any(fnmatch(name, each) for each in spec["lasting"])
    }


if __name__ == "__main__":
    main()
