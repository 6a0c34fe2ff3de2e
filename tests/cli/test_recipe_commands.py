"""Commands as recipes see them: the same options, the same types, the same results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from polycompress.cli import main
from polycompress.cli.default_command import DEFAULT
from polycompress.cli.options import CODES
from polycompress.cli.recipe_commands import recipe_command
from polycompress.pipelines.recipes.commands import as_parameters, typed
from polycompress.pipelines.recipes.kinds import KINDS
from tests.command_line import invoke
from tests.tiny_models import make_tiny


def parser_of(name: str) -> Any:
    found = get_command(main.app)
    for word in name.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    return getattr(found, "commands", {}).get(DEFAULT, found)


@pytest.mark.parametrize("name", list(KINDS))
def test_the_options_are_those_of_the_command_line(name: str) -> None:
    command = recipe_command(name)
    parameters = parser_of(name).params
    typed_here = {
        option.removeprefix("--")
        for parameter in parameters
        for option in parameter.opts
        if option.startswith("--") and option != "--help" and parameter.nargs == 1
    }
    assert set(command.options) == typed_here
    required = {parameter.name for parameter in parameters if parameter.required}
    every = (*command.arguments, *command.options.values())
    assert {option.parameter for option in every if option.is_required} == required
    assert {option.parameter for option in every if option.many} == {
        parameter.name
        for parameter in parameters
        if (parameter.multiple and parameter.metavar != CODES) or parameter.nargs == -1
    }


def test_types_and_what_values_stand_for() -> None:
    trim = recipe_command("trim").options
    assert (trim["size"].type, trim["coverage"].type, trim["link"].type) == (int, float, bool)
    assert (trim["keep"].type, trim["keep"].stands_for) == (Path, "file")
    assert (trim["keep-regex"].many, trim["keep-regex"].stands_for) == (True, "value")
    assert trim["corpus"].stands_for == "text"
    general = recipe_command("bistil general")
    assert [option.parameter for option in general.arguments] == ["model"]
    assert general.options["student"].stands_for == "model"
    assert general.options["language-sft"].stands_for == "text"
    assert recipe_command("mlm").options["corpus"].stands_for == "text"


def test_a_call_gives_what_json_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_tiny("xlm-roberta", "base", tmp_path / "model", vocab_size=350)
    corpus = tmp_path / "de.txt"
    corpus.write_text("eins\nzwei\n", encoding="utf-8")
    command = recipe_command("trim")
    options = {"langs": "de", "corpus": (f"de={corpus}",), "min-count": 1, "no-frequencies": True}
    words = typed(command, [str(model)], options)
    assert words == [
        "trim", str(model), "--langs", "de", "--corpus", f"de={corpus}", "--min-count", "1", "--no-frequencies",
    ]  # fmt: skip
    before = sys.argv
    parameters = {**as_parameters(command, options), "model": str(model), "out": tmp_path / "one"}
    found = command.call(parameters, words)
    assert sys.argv is before
    assert capsys.readouterr().out == ""
    printed = json.loads(invoke(capsys, *words, "--out", tmp_path / "two", "--json").out)
    assert {**printed, "out": None} == {**found, "out": None}
    manifest = json.loads((tmp_path / "one" / "polycompress.json").read_text())
    assert manifest["command"] == ["polycompress", *words]
