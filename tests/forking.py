"""Commands in processes of their own that begin at once, to be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.command_line import environment

# Imports once; every line of its input is a command, run in a child of its own and answered with that one's process id
# and then with how it ended. What commands print goes to the log.
SERVER = """
import json, os, sys
import accelerate, transformers.models.xlm_roberta.modeling_xlm_roberta
import polycompress.pipelines.finetune, polycompress.pipelines.tuning.mlm_run
from polycompress.cli import main
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        sys.argv = ["polycompress", *json.loads(line)]
        main.main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """See ``SERVER``."""

    def __init__(self, log: Path) -> None:
        self.log = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=environment(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1"),
        )  # fmt: skip
        assert self._line() == "ready"

    def start(self, *arguments: str) -> int:
        """Begin a command; its process id."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def ended(self) -> int:
        """How the command ended."""
        return int(self._line())

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server is gone"
        return line.strip()
