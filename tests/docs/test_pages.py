"""The pages of the documentation: made from the commands, links that lead somewhere, messages that are said."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import polycompress
from polycompress.cli import main
from polycompress.cli.commands import COMMANDS
from polycompress.cli.settings import SETTINGS
from tests.command_line import REPOSITORY, environment

DOCS = REPOSITORY / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), REPOSITORY / "SECURITY.md", REPOSITORY / "README.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"`(polycompress [^`]+)`|^(polycompress .+)$", re.MULTILINE)
METHODS = {"bistil", "engine", "experts", "ofa", "trimming"}


def test_pages_of_commands_are_those_of_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "docs/build.py", "--check"],
        cwd=REPOSITORY,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_a_page_for_each_command_and_method() -> None:
    assert {path.stem for path in (DOCS / "commands").glob("*.md")} == {"README", *COMMANDS}
    assert {path.stem for path in (DOCS / "methods").glob("*.md")} == METHODS
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in (*DOCS.glob("*.md"), *(DOCS / "methods").glob("*.md")):
        if page.name != "README.md":
            assert f"({page.relative_to(DOCS)})" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        name, _, part = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: nothing is there"
        assert target.is_relative_to(REPOSITORY)
        if part:
            assert part in anchors(target), f"{link}: no such heading"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (
        "".join(c for c in each.lower() if c in "-_ " or unicodedata.category(c)[0] in "LNM")
        for each in headings
    )
    return {each.strip().replace(" ", "-") for each in kept}


@pytest.mark.parametrize("page", PAGES[:-1], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_and_options_that_are_named_are_there(page: Path) -> None:
    program = get_command(main.app)
    for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
        words = shlex.split(match[1] or match[2], comments=True)[1:]
        while words and words[0] in ("...", "…"):
            words.pop(0)
        if not words or words[0].startswith("-"):
            continue
        found = program.commands.get(words[0])  # type: ignore[attr-defined]
        assert found is not None, f"{match[0]}: no such command"
        parts = getattr(found, "commands", {})
        if parts:
            found = parts.get(words[1]) or parts.get("MODEL") if len(words) > 1 else found
            assert found is not None, f"{match[0]}: no such command"
        context = found.make_context("", [], resilient_parsing=True)
        known = {name for parameter in found.get_params(context) for name in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{match[0]}: no option {word}"


@cache
def messages() -> tuple[str, ...]:
    """Every text in the code, joined where it is put together, with ``…`` for what is put in."""
    found = []
    for path in sorted((REPOSITORY / "polycompress").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and node not in docstrings:
                found.append(text(node))
    return tuple(" ".join(each.split()) for each in found if each)


def text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text(value) if isinstance(value, ast.Constant) else "…" for value in node.values)
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    return "…"


def quoted() -> Iterator[str]:
    """The messages that the page of errors quotes."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- (.*(?:\n  .*)*)", page, re.MULTILINE)
    for entry in entries:
        yield " ".join(re.match(r"`([^`]+)`", entry)[1].split())  # type: ignore[index]


def test_messages_that_are_quoted_are_in_the_code() -> None:
    wanted = list(quoted())
    assert len(wanted) > 40
    assert [message for message in wanted if not any(says(each, message) for each in messages())] == []


def says(message: str, quote: str) -> bool:
    """Whether the parts of a quote stand in a message, one behind the other."""
    place = 0
    for part in quote.split("…"):
        if (place := message.find(part, place)) < 0:
            return False
        place += len(part)
    return True


def test_settings_are_all_named() -> None:
    page = (DOCS / "shell.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*SETTINGS, "NO_COLOR"))


def test_the_configuration_that_is_shown_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from polycompress.cli.defaults import defaults_of

    page = (DOCS / "shell.md").read_text(encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1], encoding="utf-8")  # type: ignore[index]
    program = get_command(main.app)
    for place in (("trim",), ("finetune",), ("bistil", "general")):
        command = program
        for word in place:
            command = command.commands[word]  # type: ignore[attr-defined]
        context = command.make_context("", [], resilient_parsing=True)
        assert defaults_of(place, command.get_params(context), context, path)


def test_who_is_to_be_cited() -> None:
    found = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert (found["cff-version"], found["version"]) == ("1.2.0", polycompress.__version__)
    assert found["authors"] == [{"name": "the polycompress contributors"}]
    assert found["license"] in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
