from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polycompress.errors import InputError, MissingExtraError
from polycompress.modeldir.card_metadata import card_metadata
from polycompress.modeldir.markdown import front_matter
from polycompress.pipelines.push import plan_push
from tests.command_line import Outcome, refused, shell
from tests.pipelines.hub_server import Hub, serving
from tests.tiny_models import make_tiny

CARD = "---\nlanguage: [sw, de]\nlicense: mit\nbase_model: owner/source\ntags: [polycompress]\n---\n\n# A model\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    make_tiny("xlm-roberta", "base", path, vocab_size=350)
    (path / "README.md").write_text(CARD)
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text("{}")
    return path


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as served:
        yield served


def push(
    hub: Hub, model: Path, *options: str, token: str | None = "hf_made_up", **variables: str | None
) -> Outcome:
    """The command in a process of its own, with our hub for the world's."""
    home = model.parent / "home"
    changed = {
        "HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HOME": str(home), "HF_HUB_OFFLINE": None,
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": None, "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "*", **variables,
    }  # fmt: skip
    quoted = " ".join(f"'{each}'" for each in (str(model), "--repo", "me/tiny", *options))
    return shell(f"polycompress push {quoted}", model.parent, changed)


def test_a_plan_asks_no_network(hub: Hub, model: Path) -> None:
    outcome = push(hub, model, token=None)
    assert outcome.code == 0, outcome.err
    assert hub.requests == []
    for said in ("config.json", "1_Pooling/config.json", "model.safetensors", "me/tiny, branch main, public"):
        assert said in outcome.out
    assert " ".join(outcome.out.split()).count("licence mit base model owner/source languages sw, de") == 1
    assert outcome.out.endswith("Nothing was sent. Send it with --yes.\n")


def test_yes_sends_every_file_as_it_is(hub: Hub, model: Path) -> None:
    outcome = push(hub, model, "--yes", "--message", "First", "--json")
    assert outcome.code == 0, outcome.err
    sent = {
        path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()
    }
    assert hub.files == {f"main:{name}": content for name, content in sent.items()}
    assert hub.message == "First"
    assert {token for _, path, token in hub.requests if "validate-yaml" not in path} == {"Bearer hf_made_up"}
    found = json.loads(outcome.out)
    assert (found["sent"], found["url"]) == (True, f"{hub.address}/me/tiny/commit/{'1' * 40}")
    assert {each["name"]: each["bytes"] for each in found["files"]} == {
        name: len(each) for name, each in sent.items()
    }
    assert "hf_made_up" not in outcome.out + outcome.err


def test_a_branch_is_made_and_a_repository_stays_private(hub: Hub, model: Path) -> None:
    outcome = push(hub, model, "--yes", "--private", "--branch", "v1")
    assert outcome.code == 0, outcome.err
    assert hub.created.get("private") is True or hub.created.get("visibility") == "private"
    assert any(path.endswith("/branch/v1") for _, path, _ in hub.requests)
    assert all(name.startswith("v1:") for name in hub.files)


def test_what_is_private_is_not_sent_to_a_public_place(hub: Hub, model: Path) -> None:
    hub.private = False
    outcome = push(hub, model, "--yes", "--private")
    assert outcome.code == 2
    assert "me/tiny: is there already and public, so nothing was sent" in outcome.err, outcome.err
    assert not hub.files
    assert push(hub, model, "--yes").code == 0
    assert hub.files


def test_nobody_logged_in_is_told_how(hub: Hub, model: Path) -> None:
    outcome = push(hub, model, "--yes", token=None)
    assert outcome.code == 2
    assert "Log in with: hf auth login (or set HF_TOKEN" in outcome.err
    offline = push(hub, model, "--yes", HF_HUB_OFFLINE="1")
    assert (offline.code, "HF_HUB_OFFLINE is set" in offline.err) == (2, True)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("ending", "status", "code"), [("create", 401, 2), ("create", 403, 2), ("commit/main", 400, 1)]
)
def test_a_hub_that_refuses(hub: Hub, model: Path, ending: str, status: int, code: int) -> None:
    hub.failing = {ending: status}
    outcome = push(hub, model, "--yes")
    assert outcome.code == code, outcome
    assert outcome.err.startswith("error: me/tiny: ")
    assert ("hf auth login" in outcome.err) == (code == 2)
    assert str(status) in outcome.err
    assert not hub.files


def test_a_hub_that_is_not_there(hub: Hub, model: Path) -> None:
    outcome = push(hub, model, "--yes", HF_ENDPOINT="http://127.0.0.1:1")
    assert outcome.code == 1
    assert outcome.err.startswith("error: me/tiny: could not be sent: ")


def _write(name: str) -> Callable[[Path], object]:
    def write(model: Path) -> None:
        path = model / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_write("pytorch_model.bin"), r"pytorch_model\.bin: a pickle"),
        (_write("a/b.PKL"), r"a/b\.PKL: a pickle"),
        (_write("optimizer.safetensors"), r"optimizer\.safetensors: a training run's state"),
        (_write("snapshots/step-1/model.safetensors"), r"snapshots: snapshots of a training run"),
        (_write("checkpoint-12/x.json"), r"checkpoint-12: snapshots of a training run"),
        (_write(".env"), r"\.env: a hidden file"),
        (_write(".git/config"), r"\.git: snapshots of a training run, or a hidden folder"),
        (
            lambda model: (model / "link.txt").symlink_to("/etc/passwd"),
            r"link\.txt: a link out of the directory",
        ),
        (lambda model: (model / "link").symlink_to("/etc"), r"link: a link out of the directory"),
        (
            lambda model: (model / "gone").symlink_to(model / "nothing"),
            r"gone: a link out of the directory, or to nothing",
        ),
        (lambda model: os.mkfifo(model / "pipe"), r"pipe: not a regular file"),
    ],
)
def test_what_should_not_leave_is_named(model: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(model)
    _write("training_args.bin")(model)
    with pytest.raises(InputError, match=rf"(?s)holds 2 files that should not leave it.*{message}"):
        plan_push(model, "me/tiny")


def test_a_run_stands_for_its_model(model: Path) -> None:
    run = model.parent / "run"
    (run / "snapshots").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    model.rename(run / "final")
    plan = plan_push(run, "me/tiny")
    assert plan.folder == run / "final"
    assert all(".." not in each.name for each in plan.files)


@pytest.mark.parametrize(
    "repo", ["tiny", "/tiny", "me/", "me/a/b", "me/a b", "me/..", "me/a--b", "me/a.git", "", "me/" + 99 * "a"]
)
def test_names_of_repositories_are_checked(model: Path, repo: str) -> None:
    with pytest.raises(InputError, match="is no name of a repository of the hub"):
        plan_push(model, repo)


@pytest.mark.parametrize("revision", ["", "a b", "../x", "-x", "a\n", "x.lock", "/x"])
def test_names_of_branches_are_checked(model: Path, revision: str) -> None:
    with pytest.raises(InputError, match=r"--revision .*is no name of a branch"):
        plan_push(model, "me/tiny", revision=revision)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "a model is not sent without its card"),
        ("# A model\n", r"front matter that names a licence.*\n  ---\n  license: unknown"),
        ("---\ntags: [a]\n---\n", "front matter that names a licence"),
        ("---\n- a\n---\n", "README.md"),
        ("---\na: [\n---\n", "front matter is not YAML"),
        ("---\na: !!python/object:os.system x\n---\n", "front matter is not YAML"),
        ("x" * (1 << 21), "larger than 1 MiB"),
    ],
)
def test_a_card_is_needed(model: Path, card: str | None, message: str) -> None:
    if card is None:
        (model / "README.md").unlink()
    else:
        (model / "README.md").write_text(card)
    with pytest.raises(InputError, match=f"(?s){message}"):
        plan_push(model, "me/tiny")


def test_our_own_front_matter_is_read(model: Path) -> None:
    source = {"license": "apache-2.0", "name": "intfloat/multilingual-e5-small"}
    languages = [{"code": "swh-Latn"}, {"code": "deu-Latn"}]
    manifest = {"source": source, "languages": languages}
    fields = card_metadata(manifest, library="transformers", tags=["x"], task=None)
    (model / "README.md").write_text(front_matter(fields) + "\n\n# Card\n")
    plan = plan_push(model, "me/tiny")
    assert (plan.licence, plan.base_model, plan.languages) == ("apache-2.0", source["name"], ("swh", "deu"))
    unknown = card_metadata({}, library="transformers", tags=[], task=None)
    (model / "README.md").write_text(front_matter(unknown) + "\n\n# Card\n")
    plan = plan_push(model, "me/tiny")
    assert (plan.licence, plan.base_model, plan.languages) == ("unknown", "unknown", ())


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such directory" in refused(capsys, tmp_path, "push", tmp_path / "none", "--repo", "me/tiny")
    assert "config.json: no such file" in refused(capsys, tmp_path, "push", tmp_path, "--repo", "me/tiny")
    (tmp_path / "config.json").write_text("{}")
    assert "model.safetensors" in refused(capsys, tmp_path, "push", tmp_path, "--repo", "me/tiny")


def test_a_missing_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polycompress\[hub\]'"):
        plan_push(model, "me/tiny")
