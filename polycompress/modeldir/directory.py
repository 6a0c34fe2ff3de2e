"""The files of a model directory besides its weights: which may be carried over, and which go stale."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path, PurePosixPath

from polycompress.errors import InputError
from polycompress.modeldir.hashes import remembered_sha256
from polycompress.modeldir.paths import hub_blobs, load_json, read_bytes, read_json, safe_file, safe_path
from polycompress.modeldir.sources import ModelSource, resolve_model

__all__ = [
    "ModelSource", "copied_files", "file_sha256", "read_bytes", "read_json", "resolve_model", "safe_file",
    "stale_files",
]  # fmt: skip

_MAX_MODULE_FILES = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")

_CARRIED = (
    "modules.json", "sentence_*_config.json", "config_sentence_transformers.json", "chat_template.jinja",
    "chat_template.json", "*preprocessor_config.json", "processor_config.json", "LICENSE*", "LICENCE*",
    "NOTICE*", "COPYING*", "USE_POLICY*",
)  # fmt: skip
_CARRIED_SUFFIXES = {".json", ".safetensors", ".jinja", ".md", ".txt"}
_STALE = (
    "*.model", "*.model.v*", "*.spm", "*.tiktoken", "vocab*.txt", "vocab*.json", "merges.txt",
    "sentencepiece*", "spiece*", "dict.txt", "tekken.json", "bpe.codes", "added_tokens.json",
)  # fmt: skip
_NEVER_IN_MODULES = ("tokenizer*.json", "special_tokens_map.json", "generation_config.json", "*.index.json")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PER_TOKEN_MODULES = {"StaticEmbedding", "SparseStaticEmbedding", "WordEmbeddings", "WordWeights", "BoW"}


def file_sha256(root: Path, name: str) -> str:
    """SHA-256 of a file of a model directory.

    The hub's cache names the blob of a large file by its SHA-256 and checks it while downloading; that name
    is taken as it is and the file not read again. Of other large files see `hashes`.

    Raises:
        InputError: The file is missing, unreadable or outside the directory.
    """
    path = safe_file(root, name)
    blobs = hub_blobs(root)
    if blobs is not None and path.is_file():
        real = path.resolve()
        if real.parent == blobs and _SHA256.fullmatch(real.name):
            return real.name
    return remembered_sha256(path)


def copied_files(root: Path) -> list[str]:
    """Files that a trimmed or edited directory may carry over as they are.

    That is: the sentence-transformers files with the folders that modules.json names, chat templates,
    preprocessor settings and licences. Weights of the model, tokenizer files, pickles and code are not among
    them.

    Args:
        root: The model directory.

    Returns:
        Names inside it, sorted, with "/" between folders.

    Raises:
        InputError: modules.json leads out of the directory, or names a module that cannot be carried over.
    """
    names = {
        entry.name
        for entry in root.iterdir()
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _CARRIED)
        and safe_file(root, entry.name).is_file()
    }
    names.update(name for name in _walk(root, "additional_chat_templates") if name.endswith(".jinja"))
    for folder, kind in _module_folders(root):
        files = _walk(root, folder)
        _refuse_modules(root, folder, kind, files)
        names.update(name for name in files if _carried_in_module(PurePosixPath(name)))
    return sorted(names)


def stale_files(root: Path) -> list[str]:
    """Tokenizer files of the source that would contradict an edited tokenizer.json and are left behind.

    Returns:
        Their names, sorted: SentencePiece models, vocabulary and merge lists, added tokens with their old
        ids.
    """
    return sorted(
        entry.name
        for entry in root.iterdir()
        if any(fnmatch.fnmatchcase(entry.name.lower(), pattern) for pattern in _STALE)
    )


def _module_folders(root: Path) -> list[tuple[str, str]]:
    """Folder and type of each sentence-transformers module that lies in a folder of its own."""
    path = safe_file(root, "modules.json")
    if not path.exists():
        return []
    modules = load_json(read_bytes(root, "modules.json"), path)
    folders = []
    for module in modules if isinstance(modules, list) else [None]:
        kind = module.get("type") if isinstance(module, dict) else None
        folder = module.get("path", "") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not isinstance(folder, str):
            raise InputError(
                f"{path}: must be a list of modules with 'path' and 'type' in text. Restore the file."
            )
        kind = kind.rpartition(".")[2]
        if kind in _PER_TOKEN_MODULES:
            raise InputError(
                f"{path}: the module '{kind}' holds a value for each token, which cannot be carried over to "
                "another vocabulary. Use a model without it."
            )
        if folder not in ("", "."):
            folders.append((folder, kind))
    return folders


def _refuse_modules(root: Path, folder: str, kind: str, files: list[str]) -> None:
    if kind == "Transformer":
        raise InputError(
            f"{root}/modules.json: the transformer lies in the folder '{folder}', the layout of old "
            "versions. Save it anew with SentenceTransformer(directory).save_pretrained(new_directory) and "
            "give the new directory."
        )
    if any(name.endswith(".safetensors") for name in files):
        return
    for name in files:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _PICKLES):
            raise InputError(
                f"{root}/{name}: pickled weights of the module '{kind}' are never read. Save the model anew "
                "with SentenceTransformer(directory).save_pretrained(new_directory), which writes "
                "safetensors."
            )


def _carried_in_module(path: PurePosixPath) -> bool:
    patterns = (*_STALE, *_NEVER_IN_MODULES)
    return path.suffix in _CARRIED_SUFFIXES and not any(
        fnmatch.fnmatchcase(path.name, each) for each in patterns
    )


def _walk(root: Path, folder: str) -> list[str]:
    """Names of the files under a folder; links to folders are not entered, and those that lead out are refused.

    A folder may be missing: some modules have no files, and the hub stores no empty folders.
    """
    start = safe_path(root, folder)
    names: list[str] = []
    for directory, folders, files in os.walk(start):
        folders.sort()
        for each in folders:
            safe_path(root, (Path(directory) / each).relative_to(root).as_posix())
        for file in files:
            name = (Path(directory) / file).relative_to(root).as_posix()
            if safe_file(root, name).is_file():
                names.append(name)
        if len(names) > _MAX_MODULE_FILES:
            raise InputError(
                f"{start}: more than {_MAX_MODULE_FILES} files. Is this a sentence-transformers module?"
            )
    return sorted(names)
