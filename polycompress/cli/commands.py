"""Which commands there are. The module of one is imported when it is asked for: the help of one waits for no other."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from inspect import getdoc
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from polycompress.cli.default_command import DEFAULT, GroupWithDefault
from polycompress.cli.everywhere import Command

COMMANDS: Final[Mapping[str, str | Mapping[str, str]]] = {
    "demo-model": "demo_model.demo_model",
    "languages": "languages.languages",
    "inspect": "inspect.inspect",
    "plan": "plan.plan",
    "trim": "trim.trim",
    "verify": "verify.verify",
    "count": "count.count",
    "mlm": "mlm.mlm",
    "tasks": "tasks.tasks",
    "finetune": "finetune.finetune",
    "eval": "eval.evaluate",
    "bench": "bench.bench",
    "export": "export.export",
    "distil": "distil.distil",
    "students": "students.students",
    "factorise": "factorise.factorise",
    "report": "report.report",
    "ui": "ui.ui",
    "push": "push.push",
    "run": "run.run",
    "convert-tokenizer": "convert_tokenizer.convert_tokenizer",
    "bistil": {"general": "bistil_general.general", "task": "bistil_task.task"},
    "moe": {
        "upcycle": "moe_upcycle.upcycle",
        "train": "moe_train.train",
        "routes": "moe_routes.routes",
        "extract": "moe_extract.extract",
        "merge": "moe_merge.merge",
    },
    "ofa": {DEFAULT: "ofa.ofa", "export": "ofa_export.export"},
    "sft": {"apply": "sft.apply", "diff": "sft.diff", "show": "sft.show"},
    "tokenizer": {"train": "tokenizer.train", "extend": "tokenizer.extend", "compare": "tokenizer.compare"},
    "vectors": {"train": "vectors.train", "align": "vectors.align", "show": "vectors.show"},
}
"""Module and function of each; of a group, of each part. The module that is called as the group has its ``HELP``."""


class Program(TyperGroup):
    """The group of all commands, each made when it is asked for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Made()  # type: ignore[assignment]  # nothing is added to it

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return list(COMMANDS)


class _Made(Mapping[str, Any]):
    def __getitem__(self, name: str) -> Any:
        return _make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@functools.cache
def _make(name: str) -> Any:
    entry = COMMANDS[name]
    is_group = not isinstance(entry, str)
    app = typer.Typer(
        name=name,
        cls=GroupWithDefault,
        help=_shown(_found(f"{name}.HELP")) if is_group else None,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        # The help option is made once, in whatever context a group is first looked at.
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for part, place in ({name: entry} if isinstance(entry, str) else entry).items():
        app.command(part, cls=Command, help=_shown(getdoc(_found(place)) or ""))(_found(place))
    made = get_command(app)
    for part, command in (getattr(made, "commands", None) or {name: made}).items():
        command.place = (name,) if part in (name, DEFAULT) else (name, part)
    return made


def function_of(name: str) -> Any:
    """The Python function of a command, by its name as it is typed, such as ``bistil general``."""
    group, _, part = name.partition(" ")
    entry = COMMANDS[group]
    return _found(entry if isinstance(entry, str) else entry[part or DEFAULT])


def _found(place: str) -> Any:
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(f"polycompress.cli.{module}"), name)


def _shown(text: str) -> str:
    """Help whose examples are a paragraph each."""
    return text.replace("Examples:\n", "Examples:\n\n")
