"""Send a model directory to the Hugging Face hub: first a plan, made without the network, then the upload."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.directory import read_json, resolve_model, safe_file
from polycompress.modeldir.exported import is_exported
from polycompress.modeldir.figures import UNKNOWN

logger = logging.getLogger(__name__)

MAIN: Final = "main"
CARD: Final = "README.md"
MAX_CARD_BYTES: Final = 1 << 20
MAX_FILES: Final = 10_000
_KEPT_BACK: Final[Mapping[str, tuple[str, ...]]] = {
    "a pickle, which runs code when it is read": (
        *("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib", "*.dill"),
    ),
    "a training run's state": (
        *("optimizer*", "optimiser*", "scheduler*", "rng_state*", "trainer_state*", "random_states*"),
        "training_args*",
    ),
    "a hidden file": (".*",),
}
"""By the name's pattern: what is not sent, and why."""
_SNAPSHOTS: Final = ("snapshots", "checkpoint-*", "step-*", ".*")
"""Folders that are not sent."""
_ALLOWED: Final = (".gitattributes",)


@dataclass(frozen=True, slots=True)
class PushFile:
    """A file that is sent."""

    name: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PushPlan:
    """What is sent, and where to."""

    folder: Path
    repo: str
    revision: str
    private: bool
    message: str
    files: tuple[PushFile, ...]
    licence: str
    """As the card says; ``unknown`` where it does not."""
    base_model: str
    languages: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(each.bytes for each in self.files)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "folder": str(self.folder), "bytes": self.bytes}


def plan_push(
    model: str | os.PathLike[str],
    repo: str,
    *,
    revision: str = MAIN,
    private: bool = False,
    message: str | None = None,
) -> PushPlan:
    """Look at what would be sent; nothing is, and the network is not asked.

    Args:
        model: A model directory, or the directory of a finished training run.
        repo: ``owner/name`` on the hub.
        revision: Branch.
        private: Whether only the owner may see it.
        message: Of the commit.

    Raises:
        InputError: It is no model directory, has no card, or holds files that should not leave it (all are named); or
            the name of the repository or the branch is none.
        MissingExtraError: The extra `hub` is not installed.
    """
    _check_names(repo, revision)
    if not Path(model).is_dir():
        raise InputError(f"{os.fspath(model)}: no such directory. Give a model directory to send.")
    folder = resolve_model(Path(model)).path
    read_json(folder, "config.json")
    if not is_exported(folder):
        open_checkpoint(folder)
    files = _files(folder)
    card = _card(folder)
    return PushPlan(
        folder=folder,
        repo=repo,
        revision=revision,
        private=private,
        message=message or f"Upload {repo.partition('/')[2]} with polycompress",
        files=files,
        licence=_named(card.get("license")),
        base_model=_named(card.get("base_model")),
        languages=_listed(card.get("language")),
    )


def push(plan: PushPlan, *, bars: bool = False) -> str:
    """Make the repository if need be, and send the files in one commit.

    Args:
        plan: What is sent.
        bars: Whether the library may show its progress.

    Returns:
        Address of the commit.

    Raises:
        InputError: Nobody is logged in, the library is told to stay offline, the hub refuses the login, or the
            repository is public and was to be private.
        PolycompressError: The network or the hub failed; the message is the library's.
    """
    hub = _library()
    if hub.constants.is_offline_mode():
        raise InputError("HF_HUB_OFFLINE is set, so nothing can be sent. Unset it and try again.")
    if hub.get_token() is None:
        raise InputError(
            "Nobody is logged in to the Hugging Face hub. Log in with: hf auth login (or set HF_TOKEN to a token that "
            "may write)."
        )
    if not bars:
        hub.utils.disable_progress_bars()
    try:
        return _send(hub, plan)
    except PolycompressError:
        raise
    except hub.errors.HfHubHTTPError as error:
        answer = getattr(error, "response", None)
        if getattr(answer, "status_code", None) in (401, 403):
            raise InputError(
                f"{plan.repo}: the hub refuses the login: {_sentence(error)} Log in with a token that may write to "
                "it: hf auth login"
            ) from error
        raise PolycompressError(f"{plan.repo}: {_sentence(error)}") from error
    except Exception as error:  # the network's many others
        raise PolycompressError(f"{plan.repo}: could not be sent: {_sentence(error)}") from error


def _send(hub: Any, plan: PushPlan) -> str:
    api = hub.HfApi(library_name="polycompress")
    api.create_repo(plan.repo, private=plan.private, exist_ok=True)
    if plan.private and not api.repo_info(plan.repo).private:
        raise InputError(
            f"{plan.repo}: is there already and public, so nothing was sent. Make it private in its settings, choose "
            "another name, or leave out --private."
        )
    if plan.revision != MAIN:
        api.create_branch(plan.repo, branch=plan.revision, exist_ok=True)
    done = api.upload_folder(
        repo_id=plan.repo,
        folder_path=plan.folder,
        revision=plan.revision,
        commit_message=plan.message,
    )
    return str(done.commit_url)


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise MissingExtraError("polycompress push", "hub") from error
    return huggingface_hub


def _check_names(repo: str, revision: str) -> None:
    hub = _library()
    owner, slash, name = repo.partition("/")
    reason = "" if owner and slash and name else "It is written OWNER/NAME."
    try:
        hub.utils.validate_repo_id(repo)
    except hub.errors.HFValidationError as error:
        reason = reason or _sentence(error)
    if reason:
        raise InputError(f"--repo {repo[:120]!r}: is no name of a repository of the hub. {reason}")
    odd = set(revision) & set(" ~^:?*[\\\x7f") or any(ord(letter) < 32 for letter in revision)
    if (
        odd
        or not revision
        or ".." in revision
        or revision.startswith(("-", "/"))
        or revision.endswith(("/", ".lock"))
    ):
        raise InputError(
            f"--revision {revision[:120]!r}: is no name of a branch. Give one such as 'main' or 'v1'."
        )


def _files(folder: Path) -> tuple[PushFile, ...]:
    """Every file of the directory, if all of them may leave it."""
    found, faults = [], []
    for number, path in enumerate(_walk(folder)):
        if number >= MAX_FILES:
            raise InputError(f"{folder}: more than {MAX_FILES:,} files. Is this a model directory?")
        name = path.relative_to(folder).as_posix()
        reason = _reason(folder, path, name)
        if reason:
            faults.append(f"{name}: {reason}")
        else:
            found.append(PushFile(name, path.stat().st_size))
    if faults:
        raise InputError(
            f"{folder}: holds {len(faults)} files that should not leave it, so nothing was sent. Take them out:\n  "
            + "\n  ".join(faults)
        )
    return tuple(found)


def _walk(folder: Path) -> Iterator[Path]:
    """All files, and folders that are links or kept back as a whole."""
    for each in sorted(folder.iterdir()):
        if not each.is_dir() or each.is_symlink() or _matches(each.name, _SNAPSHOTS):
            yield each
        else:
            yield from _walk(each)


def _reason(folder: Path, path: Path, name: str) -> str:
    """Why a file may not leave; empty where it may."""
    if path.is_dir() and not path.is_symlink():
        return "snapshots of a training run, or a hidden folder"
    try:
        safe_file(folder, name)
    except InputError:
        return (
            "a link out of the directory, or to nothing"
            if path.is_symlink()
            else "not a regular file, or an odd name"
        )
    if path.name in _ALLOWED:
        return ""
    return next((why for why, patterns in _KEPT_BACK.items() if _matches(path.name, patterns)), "")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _card(folder: Path) -> Mapping[str, Any]:
    """The front matter of the model card."""
    path = safe_file(folder, CARD)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: a model is not sent without its card. Every command that makes a model writes one."
        )
    if path.stat().st_size > MAX_CARD_BYTES:
        raise InputError(f"{path}: larger than {MAX_CARD_BYTES >> 20} MiB. Is this a model card?")
    try:
        fields = _library().metadata_load(path)
    except Exception as error:  # the parser's many
        raise InputError(f"{path}: its front matter is not YAML: {_sentence(error)}") from error
    if not isinstance(fields, dict) or "license" not in fields:
        raise InputError(
            f"{path}: does not begin with front matter that names a licence, which the hub reads. Put these lines on "
            "top, with what is true of the model:\n  ---\n  license: unknown\n  base_model: OWNER/NAME\n  ---"
        )
    return fields


def _named(value: object) -> str:
    return ", ".join(_listed(value)) or UNKNOWN


def _listed(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(str(each)[:100] for each in values[:200] if isinstance(each, str) and each)


def _sentence(error: Exception) -> str:
    text = (" ".join(str(error).split()) or type(error).__name__)[:400]
    return text if text.endswith(".") else text + "."
