"""Every example of every help is parsed, and carried out on a tiny model where the table does not say why not.

Models, texts and data are made in a directory of their own, and are called what the examples call them: a directory
``demo`` wins over the word.
"""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Final

import pytest
import zstandard
from typer.main import get_command

from polycompress.cli import main
from polycompress.cli.commands import COMMANDS, _found, function_of
from polycompress.cli.default_command import DEFAULT
from polycompress.pipelines.trimming import gathering
from tests.command_line import invoke
from tests.pipelines.initialising.worlds import write_corpora, write_vectors
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import TEXTS, make_tiny


@dataclass(frozen=True, slots=True)
class Way:
    """How an example is carried out."""

    more: str = ""
    """Options behind it that make it short."""
    is_slow: bool = False
    parsed_only: str = ""
    """Why it is parsed and no more."""
    needs: tuple[str, ...] = ()
    """What other examples have to make first."""


SHORT = "--steps 2 --max-length 48 --device cpu --precision fp32"
TUNED = "--steps 2 --max-length 48 --device cpu --precision fp32 --data data"
OTHERS: Final = "takes longer; the command's own tests carry it out on a tiny model"
WAYS: Final[Mapping[str, Way]] = {
    "demo-model": Way(parsed_only="writes half a gigabyte; tests/modeldir/test_demo.py carries it out"),
    "convert-tokenizer": Way(parsed_only="needs a model with a SentencePiece file; tests/modeldir has some"),
    "ui": Way(parsed_only="serves until it is interrupted; tests/ui carries it out"),
    "push": Way(parsed_only="needs a model with its card, and a hub; tests/pipelines/test_push.py has both"),
    "plan": Way("--budget 20MB"),
    "polycompress trim xlm-roberta-base --langs sw,en --corpus sw='swahili/*.txt.gz' --size 40000 --out xlmr-sw-en": (
        Way("--size 390")
    ),
    "polycompress inspect demo --langs de,tr,zh --corpus sw='sw.txt.gz' --plot frontier.png": Way(
        is_slow=True
    ),
    "verify": Way(needs=("e5-de",)),
    "mlm": Way(SHORT, is_slow=True),
    "finetune": Way(TUNED, is_slow=True),
    "polycompress eval ner-run --task ner-wikiann --langs de,sw,ru --data DIR": (
        Way(parsed_only="needs a tagger; tests/cli/test_eval_command.py judges one")
    ),
    "polycompress eval demo --suite quick --data DIR --out results": Way(
        "--device cpu --data data", is_slow=True
    ),
    "polycompress eval --compare results/xnli.json other/xnli.json": (
        Way(parsed_only="needs results of two models; tests/cli/test_eval_command.py compares some")
    ),
    "bench": Way(parsed_only=OTHERS),
    "export": Way(parsed_only=OTHERS),
    "students": Way(parsed_only=OTHERS),
    "distil": Way(parsed_only=OTHERS),
    "bistil general": Way(parsed_only=OTHERS),
    "bistil task": Way(parsed_only=OTHERS),
    "moe train": Way(parsed_only=OTHERS),
    "moe routes": Way(parsed_only=OTHERS),
    "moe extract": Way(needs=("moe",)),
    "moe merge": Way("--family Romance=fr,es --family Germanic=de,nl --out merged"),
    "polycompress moe merge romance-student germanic-student bantu-student --out moe": (
        Way("--family Romance=fr,es --family Germanic=de,nl --family Bantu=sw,zu --out merged")
    ),
    "polycompress moe merge a b --family Romance=fr,es --family Germanic=de,nl --shared a --dry-run": Way(),
    "factorise": Way("--rank 8"),
    "ofa MODEL": Way("--check en=en.txt.gz", needs=("small",)),
    "polycompress ofa demo --tokenizer tok/ --vectors aligned/ --rank 100 --out demo-ofa100": (
        Way("--rank 8", needs=("tok",))
    ),
    "polycompress ofa demo --tokenizer tok/ --vectors aligned/ --rank 100 --dry-run": Way(
        "--rank 8", needs=("tok",)
    ),
    "ofa export": Way(needs=("demo-ofa100", "demo-128")),
    "sft apply": Way(needs=("task.diff",)),
    "sft show": Way(needs=("task.diff",)),
    "tokenizer extend": Way("--check en=en.txt.gz"),
    "tokenizer compare": Way(needs=("tok",)),
    "report": Way(is_slow=True, needs=("run", "results")),
    "polycompress report runs/swahili-ner --open": (
        Way(parsed_only="needs a browser and the run of a recipe; tests/report/whole has such runs")
    ),
    "run": Way(parsed_only="needs recipes' own data; tests/cli/test_run_command.py carries recipes out"),
    "vectors train": Way(parsed_only=OTHERS),
    "vectors align": Way(parsed_only=OTHERS),
}
"""By the whole example, else by its command."""


def examples() -> dict[str, str]:
    """Every example with its command's words, each once."""
    found = {}
    for name, entry in COMMANDS.items():
        texts = [_found(f"{name}.HELP")] if not isinstance(entry, str) else []
        parts = [name] if isinstance(entry, str) else [f"{name} {part}" for part in entry]
        texts += [getdoc(function_of(part)) for part in parts]
        for text in texts:
            for line in text.splitlines():
                if line.strip().startswith("polycompress "):
                    found[line.strip()] = command_of(shlex.split(line)[1:])
    return found


def command_of(words: list[str]) -> str:
    """Which command a line calls, by the words of the table of commands."""
    entry = COMMANDS[words[0]]
    if isinstance(entry, str):
        return words[0]
    return f"{words[0]} {words[1] if words[1] in entry else DEFAULT}"


EXAMPLES: Final = examples()


def way_of(example: str) -> Way:
    return WAYS.get(example) or WAYS.get(EXAMPLES[example]) or Way()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what examples name."""
    root = tmp_path_factory.mktemp("room")
    make_tiny("xlm-roberta", "mlm", root / "demo", vocab_size=400, num_hidden_layers=4)
    shutil.copytree(root / "demo", root / "xlm-roberta-base")
    make_pack(root / "data")
    shutil.copytree(root / "data", root / "DIR")
    for seed, name in enumerate(("tuned/final", "student", "sw-ner", "swahili", "a", "b"), 1):
        make_tiny("xlm-roberta", "mlm", root / "made" / name, vocab_size=400, num_hidden_layers=4, seed=seed)
    for name in ("romance-student", "germanic-student", "bantu-student"):
        shutil.copytree(root / "demo", root / name)
    for name in ("tuned", "student", "sw-ner", "a", "b"):
        (root / "made" / name).rename(root / name)
    write_corpora(root)
    write_vectors(root / "aligned")
    own = {"yo": "yor-Latn", "ig": "ibo-Latn"}
    for code in ("de", "en", "fr", "ig", "sw", "yo", "swahili", "bantu", "zu"):
        lines = [f"{TEXTS[(3 * index) % 16]} {code} {index}" for index in range(60)]
        if code in own:
            lines = (root / f"{own[code]}.txt").read_text(encoding="utf-8").splitlines()
        text = "\n".join(lines) + "\n"
        (root / code).mkdir()
        for name in (f"{code}.txt", f"{code}/{code}.txt", "held-out.txt", "more.txt"):
            (root / name).write_text(text, encoding="utf-8")
        for name in (f"{code}.txt.gz", f"{code}/{code}.txt.gz"):
            (root / name).write_bytes(gzip.compress(text.encode()))
    records = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    (root / "shards").mkdir()
    (root / "shards" / "1.jsonl.zst").write_bytes(zstandard.compress(records))
    for words in (
        ["count", root / "demo", "--lang", "de", "--corpus", root / "de.txt", "--out", root / "de.npz"],
        ["sft", "diff", root / "demo", root / "made" / "swahili", "--out", root / "swahili.diff"],
    ):
        assert main.run([str(word) for word in words]) == 0
    return root


@pytest.fixture(autouse=True)
def in_the_room(
    room: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(room)
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "160")


def cases() -> Iterator[object]:
    for example in EXAMPLES:
        way = way_of(example)
        if not way.parsed_only:
            yield pytest.param(example, id=example[13:], marks=[pytest.mark.slow] * way.is_slow)


@pytest.mark.parametrize("example", cases())
def test_examples_do_what_they_say(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    carry_out(example, capsys)


def carry_out(example: str, capsys: pytest.CaptureFixture[str]) -> None:
    way = way_of(example)
    for needed in way.needs:
        if needed in example and not Path(needed).exists():
            carry_out(maker_of(needed), capsys)
    words = shlex.split(f"{example} {way.more}")[1:]
    # The last one counts.
    if "--out" in words and "{" not in (out := words[len(words) - words[::-1].index("--out")]):
        clear(Path(out))
    done = invoke(capsys, *words)
    assert done.code == 0, done.err
    assert done.out


def maker_of(name: str) -> str:
    """The first example that writes a directory or file."""
    return next(each for each in EXAMPLES if each.split(" --out ")[-1].split()[0].rstrip("/") == name)


def clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def test_every_example_is_parsed() -> None:
    program = get_command(main.app)
    for example, command in EXAMPLES.items():
        parser, words = program, shlex.split(example)[1:]
        for word in command.split():
            parser = parser.commands[word]  # type: ignore[attr-defined]
            words = words[word != DEFAULT :]
        parser.make_context(command, words)  # raises where an option or argument is not known


def test_every_command_has_two() -> None:
    """Groups have examples of their own; these are those of what they hold."""
    counted = Counter(EXAMPLES.values())
    commands = [
        part
        for name, entry in COMMANDS.items()
        for part in ([name] if isinstance(entry, str) else [command_of([name, each]) for each in entry])
    ]
    assert {command for command in commands if counted[command] < 2} == set()


def test_the_table_names_examples_and_commands_that_are_there() -> None:
    assert set(WAYS) <= set(EXAMPLES) | set(EXAMPLES.values())
