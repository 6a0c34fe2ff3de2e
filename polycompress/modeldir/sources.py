"""What MODEL means on a command line: a directory, the word "demo", or a name on the Hugging Face hub."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

from polycompress.errors import InputError, MissingExtraError, StorageError

DEMO_NAME: Final = "multilingual-e5-small-demo"
"""What the demo model calls itself: a dequantised copy, so not by the original's name."""

HUB_PATTERNS: Final = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.jinja",
    "*.model",
    "*.md",
    "LICENSE*",
    "NOTICE*",
)
"""Files fetched from the hub: settings, tokenizer and safetensors weights; never pickles or code."""

_HUB_IGNORED = (
    "onnx/*",
    "openvino/*",
    "original/*",
    "consolidated*",
    "*.msgpack",
    "runs/*",
    "checkpoint-*/*",
)
_HUB_NAME = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?", re.ASCII
)
_SEED: Final = re.compile(r"seed-\d{1,18}", re.ASCII)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model found on disk.

    Attributes:
        spec: What was asked for.
        path: The directory that holds it.
        kind: Where it came from.
        name: What to call it: the hub's name where one is known, else the directory's; of ``RUN/final`` the run, of
            ``RUN/seed-N/final`` both the run and the seed.
        revision: Commit of the hub's repository, where known.
    """

    spec: str
    path: Path
    kind: Literal["directory", "demo", "hub"]
    name: str
    revision: str | None


def resolve_model(spec: str | os.PathLike[str]) -> ModelSource:
    """Find the directory of a model; fetch or build it first if need be.

    Args:
        spec: A directory (which wins over the other readings), the word "demo", or `owner/name[@revision]`. The
            directory of a finished training run stands for the model in it.

    Returns:
        The directory and what is known of its origin.

    Raises:
        InputError: There is no such directory, or the hub has no such model, or cannot be reached.
        MissingExtraError: The model needs an extra that is not installed.
        StorageError: The disk has no room for it.
    """
    text = os.fspath(spec)
    path = Path(text)
    try:
        is_directory, exists = bool(text) and path.is_dir(), bool(text) and path.exists()
    except OSError as error:  # a name too long, a directory that may not be entered
        raise InputError(
            f"{text}: cannot be looked up ({error.strerror}). Check the name and its permissions."
        ) from error
    if is_directory:
        if _is_finished_run(path):
            return ModelSource(text, path / "final", "directory", path.resolve().name, None)
        name, revision = _hub_origin(path)
        return ModelSource(text, path, "directory", name, revision)
    if exists:
        raise InputError(f"{text}: is a file. Give the directory that holds config.json and the weights.")
    if text == "demo":
        from polycompress.modeldir.demo import cached_demo

        return ModelSource(text, cached_demo(), "demo", DEMO_NAME, None)
    match = _HUB_NAME.fullmatch(text) if isinstance(spec, str) else None
    # 'models/e5' beside a directory 'models' is more likely a slip than the hub's owner 'models'.
    if match is None or (match["revision"] is None and path.parent.is_dir()):
        raise InputError(_no_directory(text, path, match is not None))
    repo, revision = match["repo"], match["revision"]
    snapshot = _download(text, repo, revision)
    return ModelSource(text, snapshot, "hub", repo, _hub_origin(snapshot)[1] or revision)


def _is_finished_run(path: Path) -> bool:
    """Whether a directory is that of a training run with a model in ``final/``, and no model itself."""
    return (path / "final" / "config.json").is_file() and not any(path.glob("model*.safetensors"))


def _hub_origin(path: Path) -> tuple[str, str | None]:
    """Name and commit of a snapshot in the hub's cache, else the name of the run, or the directory's own."""
    real = path.resolve()
    repository = real.parent.parent.name
    if real.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/"), real.name
    if real.name == "final" and _is_finished_run(real.parent):
        run = real.parent
        return (f"{run.parent.name}/{run.name}" if _SEED.fullmatch(run.name) else run.name), None
    return real.name, None


def _no_directory(text: str, path: Path, hub_like: bool) -> str:
    siblings = (
        [entry.name for entry in path.parent.iterdir() if entry.is_dir()] if path.parent.is_dir() else []
    )
    close = get_close_matches(path.name, siblings, n=1)
    nearest = f" Did you mean '{path.parent / close[0]}'?" if close else ""
    if hub_like:
        return (
            f"{text}: no such directory (the directory '{path.parent}' exists, so it is not looked up on "
            f"the hub; '{text}@main' would be).{nearest}"
        )
    return (
        f"{text or repr(text)}: no such directory.{nearest} MODEL is a directory, the word 'demo', or "
        "owner/name[@revision] on the Hugging Face hub."
    )


def _download(text: str, repo: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            f"There is no directory '{text}', and looking it up on the Hugging Face hub", "hub"
        ) from error
    try:
        found = snapshot_download(
            repo, revision=revision, allow_patterns=list(HUB_PATTERNS), ignore_patterns=list(_HUB_IGNORED)
        )
    except errors.GatedRepoError as error:
        raise InputError(
            f"{text}: the hub gives '{repo}' only to those who accepted its terms. Accept them on its page, "
            "then log in with: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{text}: neither a directory nor a model that the Hugging Face hub shows us. Check the name; "
            "for a private model log in with: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"{text}: '{repo}' has no revision '{revision}'. Check the branch, tag or commit."
        ) from error
    except errors.HFValidationError as error:
        raise InputError(
            f"{text}: not a name of a model on the hub ({error}). Check the spelling."
        ) from error
    except Exception as error:  # the network's and the library's many others
        if isinstance(error, OSError) and error.errno in _FULL:
            raise StorageError(
                f"{text}: the hub's cache has no room ({error.strerror}). Free space, or set HF_HUB_CACHE "
                "to another disk."
            ) from error
        raise InputError(
            f"{text}: no such directory here, not whole in the hub's cache, and the hub cannot be reached "
            f"(offline?): {_first_line(error)} Fetch it where there is a network (hf download {repo}), or "
            "give a directory."
        ) from error
    return Path(found)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = (lines[0] if lines else type(error).__name__)[:300]
    return text if text.endswith(".") else text + "."
