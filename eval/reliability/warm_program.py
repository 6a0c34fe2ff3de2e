"""A process that has imported the program and forks a child for each command, so that thousands take minutes.

    python -m eval.reliability.warm_program [MODULE ...]

The modules are imported before the first command. Every line of the input is a JSON object (see ``warm.py``); the
answer is one line too. The child is held to a time and to an address space, leads a session of its own so that whatever
it started ends with it, and reads nothing.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from polycompress.cli import main

_SIZE = re.compile(r"VmSize:\s+(\d+) kB")


def _address_space() -> int:
    """Bytes of address space that this process has."""
    found = _SIZE.search(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    return int(found[1]) * 1024 if found else 0


def _command(asked: dict[str, Any]) -> NoReturn:
    """Be the program, as its console script is."""
    code = 1
    try:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(asked["variables"])
        os.chdir(asked["cwd"])
        most = _address_space() + asked["address_space"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["polycompress", *asked["arguments"]]
        main.main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _carry_out(asked: dict[str, Any]) -> dict[str, Any]:
    """Fork, wait, and say how it ended."""
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _command(asked)
    ended = select.poll()
    descriptor = os.pidfd_open(child)
    ended.register(descriptor, select.POLLIN)
    on_time = bool(ended.poll(asked["seconds"] * 1000))
    os.close(descriptor)
    seconds = time.monotonic() - started
    for kill, process in ((os.killpg, child), (os.kill, child)):
        if not on_time:
            with contextlib.suppress(ProcessLookupError):
                kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "on_time": on_time,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def serve() -> None:
    """Answer until the input ends."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_carry_out(json.loads(line))), file=answers, flush=True)
    os._exit(0)  # libraries complain of what an interpreter leaves


if __name__ == "__main__":
    serve()
