"""Write ``docs/commands/``: a page for each command, made of the commands themselves.

``python docs/build.py`` writes the pages; with ``--check`` it ends with 1 if one is not what it would be.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent
PAGES: Final = ROOT / "commands"
MADE: Final = "<!-- Made by `python docs/build.py`: change the command instead. -->"
EXITS: Final[Mapping[str, str]] = {
    "trim": "the certificate failed, and nothing was written",
    "verify": "the certificate failed",
    "export": "graph and model do not agree, and nothing was written",
    "moe": "what `extract --trim` made failed its certificate, and nothing was written",
    "run": "a stage failed for a reason that is not the recipe's fault",
}
"""What else ends a command with 1, beside a full disk and its like."""
_DEFAULT: Final = re.compile(r"\s*\[default: (.*)\]$", re.DOTALL)


def main() -> int:
    """Write the pages, or compare them with what lies there."""
    sys.path.insert(0, str(ROOT.parent))
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}
    if "--check" in sys.argv[1:]:
        changed = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        if changed:
            print(f"not up to date: {', '.join(changed)}; run python docs/build.py", file=sys.stderr)
        return int(bool(changed))
    PAGES.mkdir(exist_ok=True)
    for name in there.keys() - wanted.keys():
        (PAGES / name).unlink()
    for name, text in wanted.items():
        (PAGES / name).write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    from typer.main import get_command

    from polycompress.cli import main as program

    group: Any = get_command(program.app)
    found = {f"{name}.md": _page(name, group.commands[name]) for name in group.commands}
    return found | {"README.md": _index(group)}


def _index(group: Any) -> str:
    from polycompress.cli.settings import SETTINGS

    rows = [(f"[{name}]({name}.md)", _summary(group.commands[name])) for name in group.commands]
    lines = [
        MADE,
        "",
        "# Commands",
        "",
        *_table(("command", "what it does"), rows),
        "",
        "## Options of every command",
        "",
        "They stand before the command's name or after it.",
        "",
        *_options(_leaf(group.commands["trim"]), shared=True),
        "",
        "`polycompress --version` tells the version, `--install-completion` teaches the shell you are in to complete "
        "commands, options, languages and tasks, `--show-completion` prints what that would add to its settings.",
        "",
        "## Environment",
        "",
        *_table(("variable", "what it says"), [(f"`{name}`", meaning) for name, meaning in SETTINGS.items()]),
    ]
    return "\n".join(lines) + "\n"


def _page(name: str, command: Any) -> str:
    text, examples = _parts(command.help)
    lines = [MADE, "", f"# polycompress {name}", "", *text, "", "## Examples", "", *_code(examples)]
    parts = getattr(command, "commands", None)
    for part, each in ({"": command} if parts is None else parts).items():
        lines += ["", *_section(name, part, each, is_part=parts is not None)]
    lines += ["", "## Exit codes", "", *_exits(name)]
    lines += [
        "",
        "[All commands](README.md) · [settings and defaults](../shell.md) · [errors](../troubleshooting.md)",
    ]
    return "\n".join(lines) + "\n"


def _section(name: str, part: str, command: Any, *, is_part: bool) -> Iterator[str]:
    deeper = "#" if is_part else ""
    if is_part:
        text, examples = _parts(command.help)
        yield from (f"## polycompress {name} {part}", "", *text, "", *_code(examples), "")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if arguments:
        yield from (f"{deeper}## Arguments", "")
        yield from _table(
            ("argument", "what it is"),
            [(_cell(_code_of(each)), _cell(each.help or "")) for each in arguments],
        )
        yield ""
    yield from (f"{deeper}## Options", "", *_options(command, shared=False))


def _options(command: Any, *, shared: bool) -> list[str]:
    own = {each.name for each in command.params}
    context = command.make_context("", [], resilient_parsing=True)
    rows = []
    for each in command.get_params(context):
        if each.param_type_name == "option" and each.name != "help" and (each.name not in own) is shared:
            rows.append(_row(each))
    return list(_table(("option", "default", "what it does"), rows))


def _row(option: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
    value = "" if option.is_flag else f" `{option.metavar or _type_of(option)}`"
    default = str(option.default) if type(option.default) in (int, float, str) else ""
    text = option.help or ""
    if said := _DEFAULT.search(text):
        default, text = said[1], text[: said.start()]
    if option.required:
        text = f"Required. {text}"
    if option.envvar:
        text = f"{text} Else `{option.envvar}`."
    return _cell(names + value), _cell(default), _cell(text)


def _type_of(option: Any) -> str:
    default = option.default
    if isinstance(default, bool) or not isinstance(default, int | float):
        described = str(getattr(option, "type_descriptor", ""))
        return "N" if re.search(r"\b(int|float)\b", described) else "TEXT"
    return "N"


def _exits(name: str) -> Iterator[str]:
    failed = "it failed for another reason, such as a full disk"
    yield from _table(
        ("code", "meaning"),
        [
            ("0", "done"),
            ("1", f"{EXITS[name]}; or {failed}" if name in EXITS else failed),
            ("2", "the request or the input is wrong; the message says what, where and what to do"),
            ("130, 143", "interrupted, or ended from outside; nothing half-written is left"),
        ],
    )


def _parts(text: str) -> tuple[list[str], list[str]]:
    """What a help says, line by line, and its examples."""
    said, _, rest = text.partition("Examples:\n")
    examples = [line.strip() for line in rest.splitlines() if line.strip().startswith("polycompress ")]
    return said.strip().replace("``", "`").splitlines(), examples


def _summary(command: Any) -> str:
    return " ".join(_parts(command.help)[0]).partition(". ")[0].rstrip(".") + "."


def _leaf(command: Any) -> Any:
    return next(iter(getattr(command, "commands", {"": command}).values()))


def _code(examples: list[str]) -> list[str]:
    return ["```bash", *examples, "```"]


def _code_of(argument: Any) -> str:
    return f"`{argument.metavar or argument.name.upper()}`"


def _table(header: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---' for _ in header)} |"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


if __name__ == "__main__":
    sys.exit(main())
