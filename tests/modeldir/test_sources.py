from __future__ import annotations

import errno
import fnmatch
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from polycompress.errors import InputError, MissingExtraError, StorageError
from polycompress.modeldir.sources import HUB_PATTERNS, resolve_model
from tests.modeldir.test_directory import hub_snapshot

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_directory_is_taken_as_it_is(here: Path) -> None:
    (here / "models" / "e5").mkdir(parents=True)
    source = resolve_model("models/e5")
    assert (source.spec, source.path, source.kind, source.name, source.revision) == (
        "models/e5", Path("models/e5"), "directory", "e5", None,
    )  # fmt: skip
    assert resolve_model(here / "models" / "e5").name == "e5"


def test_a_directory_wins_over_the_words(here: Path) -> None:
    (here / "demo").mkdir()
    (here / "owner" / "name").mkdir(parents=True)
    assert resolve_model("demo").kind == "directory"
    assert resolve_model("owner/name").kind == "directory"


def test_a_snapshot_of_the_hub_knows_its_name(here: Path) -> None:
    source = resolve_model(hub_snapshot(here, {"config.json": b"{}"}))
    assert (source.kind, source.name, source.revision) == ("directory", "owner/name", "a" * 40)


def test_the_demo_is_built_on_demand(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = SimpleNamespace(cached_demo=lambda: here / "cache")
    monkeypatch.setitem(sys.modules, "polycompress.modeldir.demo", built)
    source = resolve_model("demo")
    assert (source.path, source.kind) == (here / "cache", "demo")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "models/e5-s",
            r"e5-s: no such directory .*'models/e5-s@main' would be.*Did you mean 'models/e5-small'\?",
        ),
        (
            "modles",
            r"modles: no such directory. Did you mean 'models'\? MODEL is a directory, the word 'demo'",
        ),
        ("bert-base-cased", r"owner/name\[@revision\] on the Hugging Face hub"),
        ("/no/such/place", "/no/such/place: no such directory"),
        ("../a/b/c", "no such directory"),
        ("", "'': no such directory"),
        ("a/b@", "no such directory"),
        ("file", "file: is a file. Give the directory"),
    ],
)
def test_what_is_no_model_is_refused(here: Path, spec: str, message: str) -> None:
    (here / "models" / "e5-small").mkdir(parents=True)
    (here / "file").touch()
    with pytest.raises(InputError, match=message):
        resolve_model(spec)


def test_a_path_object_is_never_looked_up_on_the_hub(here: Path) -> None:
    with pytest.raises(InputError, match="owner/name: no such directory"):
        resolve_model(Path("owner/name"))


def test_without_the_extra_the_error_says_what_to_install(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        MissingExtraError, match=r"no directory 'owner/name'.*pip install 'polycompress\[hub\]'"
    ):
        resolve_model("owner/name")


def ask(spec: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Resolve in a fresh process, through the real library: it reads its environment when imported."""
    pytest.importorskip("huggingface_hub")
    code = (
        "import sys; from polycompress.errors import InputError\n"
        "from polycompress.modeldir.directory import resolve_model\n"
        "try: s = resolve_model(sys.argv[1]); print(s.path, s.kind, s.name, s.revision)\n"
        "except InputError as error: print('InputError:', error)"
    )
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_CACHE": str(cache), **environment}
    variables.pop("HF_TOKEN", None)
    return subprocess.run(
        [sys.executable, "-c", code, spec], capture_output=True, text=True, check=True, env=variables, timeout=60,
        cwd=cache,
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    snapshot = hub_snapshot(tmp_path, {"config.json": b"{}", "model.safetensors": b"x"})
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    return tmp_path


def test_a_hub_model_comes_from_the_cache_when_offline(cache: Path) -> None:
    expected = f"{cache}/models--owner--name/snapshots/{'a' * 40} hub owner/name {'a' * 40}"
    assert ask("owner/name", cache, HF_HUB_OFFLINE="1").stdout.strip() == expected
    assert ask("owner/name@main", cache, HF_HUB_OFFLINE="1").stdout.strip() == expected
    assert ask(f"owner/name@{'a' * 40}", cache, HF_HUB_OFFLINE="1").stdout.strip() == expected


def test_what_is_not_in_the_cache_is_refused_offline(cache: Path) -> None:
    answer = ask("owner/other", cache, HF_HUB_OFFLINE="1").stdout
    assert answer.startswith("InputError: owner/other: no such directory here, not whole in the hub's cache")
    assert "(offline?)" in answer
    assert "hf download owner/other" in answer
    assert "cannot be reached" in ask("owner/name@v2", cache, HF_HUB_OFFLINE="1").stdout


def test_names_the_hub_does_not_allow_are_refused(cache: Path) -> None:
    assert "not a name of a model on the hub" in ask("owner/na..me", cache, HF_HUB_OFFLINE="1").stdout


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def raises(*_: object, **options: object) -> str:
        assert options["allow_patterns"] == list(HUB_PATTERNS)
        raise error

    monkeypatch.setattr(hub, "snapshot_download", raises)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("GatedRepoError", "only to those who accepted its terms"),
        ("RepositoryNotFoundError", "neither a directory nor a model that the Hugging Face hub shows us"),
        ("RevisionNotFoundError", "'owner/name' has no revision 'v9'"),
        ("HfHubHTTPError", "the hub cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    errors = pytest.importorskip("huggingface_hub.errors")
    error_class = getattr(errors, kind)
    fail_with(monkeypatch, error_class.__new__(error_class))
    with pytest.raises(InputError, match=message):
        resolve_model("owner/name@v9")


def test_a_full_disk_while_fetching_is_a_storage_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(StorageError, match="the hub's cache has no room"):
        resolve_model("owner/name")


def test_nothing_but_data_is_fetched() -> None:
    names = [
        "pytorch_model.bin",
        "modeling_x.py",
        "model.pt",
        "onnx/model.onnx",
        "rust_model.ot",
        "tf_model.h5",
    ]
    assert not [name for name in names for pattern in HUB_PATTERNS if fnmatch.fnmatchcase(name, pattern)]


def test_the_model_in_a_run_is_called_like_the_run(tmp_path: Path) -> None:
    final = tmp_path / "4-ner" / "final"
    final.mkdir(parents=True)
    (final / "config.json").write_text("{}")
    assert resolve_model(final).name == resolve_model(tmp_path / "4-ner").name == "4-ner"
    (tmp_path / "4-ner" / "model.safetensors").touch()
    assert resolve_model(final).name == "final"
