from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.modeldir import paths
from polycompress.modeldir.directory import (
    copied_files,
    file_sha256,
    read_bytes,
    read_json,
    safe_file,
    stale_files,
)


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def hub_snapshot(cache: Path, files: dict[str, bytes], repo: str = "models--owner--name") -> Path:
    """A snapshot of the hub's cache: links into blobs, the large ones named by their SHA-256."""
    snapshot = cache / repo / "snapshots" / ("a" * 40)
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        blob = cache / repo / "blobs" / (digest if name.endswith(".safetensors") else digest[:40])
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


# Names


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "..", "C:/x", "a/.."])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of the model directory"):
        safe_file(tmp_path, name)


@pytest.mark.parametrize("name", ["", "a\0b", "a\\b", 3, None])
def test_names_that_are_none_are_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(InputError, match="is no usable file name"):
        safe_file(tmp_path, name)


def test_links_are_followed_inside_only(tmp_path: Path) -> None:
    root = write(tmp_path / "model", **{"a.json": "{}", "sub/b.json": "{}"})
    write(tmp_path, **{"secret": "x"})
    (root / "inside").symlink_to("sub/b.json")
    (root / "outside").symlink_to("../secret")
    (root / "folder").symlink_to("..")
    (root / "loop").symlink_to("loop")
    assert safe_file(root, "inside") == root / "inside"
    assert safe_file(root, "absent.json") == root / "absent.json"
    for name in ("outside", "folder/secret"):
        with pytest.raises(InputError, match="is a link that leaves the model directory"):
            safe_file(root, name)
    with pytest.raises(InputError, match=r"loop: cannot be (looked up|read)"):
        read_bytes(root, "loop")
    with pytest.raises(InputError, match="cannot be looked up"):
        safe_file(root, "n" * 300)


def test_a_directory_reached_through_a_link_is_sound(tmp_path: Path) -> None:
    write(tmp_path / "model", **{"a.json": "{}"})
    (tmp_path / "alias").symlink_to("model")
    assert read_json(tmp_path / "alias", "a.json") == {}


def test_only_regular_files_count(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(InputError, match="is not a regular file"):
            safe_file(tmp_path, name)


def test_a_snapshot_may_link_to_its_own_blobs_only(tmp_path: Path) -> None:
    root = hub_snapshot(tmp_path, {"config.json": b'{"a": 1}', "1_Pooling/config.json": b"{}"})
    other = hub_snapshot(tmp_path, {"config.json": b'{"b": 2}'}, repo="models--someone--else")
    assert read_json(root, "config.json") == {"a": 1}
    assert read_json(root, "1_Pooling/config.json") == {}
    assert read_json(root / "1_Pooling", "config.json") == {}
    (root / "stolen.json").symlink_to((other / "config.json").resolve())
    with pytest.raises(InputError, match="is a link that leaves the model directory"):
        read_json(root, "stolen.json")


def test_blobs_that_are_a_link_are_not_blobs(tmp_path: Path) -> None:
    write(tmp_path / "private", **{"key": "{}"})
    root = tmp_path / "models--x--y" / "snapshots" / "1"
    root.mkdir(parents=True)
    (tmp_path / "models--x--y" / "blobs").symlink_to(tmp_path / "private")
    (root / "key").symlink_to("../../blobs/key")
    with pytest.raises(InputError, match="is a link that leaves the model directory"):
        safe_file(root, "key")


# JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', r"c.json: line 2, column 7: not JSON"),
        (b'{"a": "\xff"}', r"c.json: byte 7 is not UTF-8"),
        (b"[1]", r"c.json: holds a JSON list, not an object"),
        (b"[" * 100_000, r"c.json: JSON that cannot be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"c.json: JSON that cannot be read"),
        (b"", r"c.json: line 1, column 1: not JSON"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path, "c.json")


def test_missing_and_large_json(tmp_path: Path) -> None:
    assert read_json(tmp_path, "c.json", required=False) is None
    with pytest.raises(InputError, match=r"c.json: no such file. Is .* a model directory, and complete\?"):
        read_json(tmp_path, "c.json")
    write(tmp_path, **{"c.json": json.dumps({"a": "x" * 100})})
    with pytest.raises(InputError, match=r"109 bytes, over the limit of 100"):
        read_json(tmp_path, "c.json", max_bytes=100)
    assert paths.MAX_JSON_BYTES == 64 << 20


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, **{"c.json": "{}"})
    (tmp_path / "c.json").chmod(0)
    with pytest.raises(InputError, match=r"c.json: cannot be read \(Permission denied\)"):
        read_json(tmp_path, "c.json")


def test_digests_of_blobs_are_their_names(tmp_path: Path) -> None:
    root = hub_snapshot(tmp_path, {"config.json": b"{}", "model.safetensors": b"weights"})
    digest = hashlib.sha256(b"weights").hexdigest()
    assert file_sha256(root, "model.safetensors") == digest
    (root / "model.safetensors").resolve().write_bytes(b"now it would differ")
    assert file_sha256(root, "model.safetensors") == digest
    assert file_sha256(root, "config.json") == hashlib.sha256(b"{}").hexdigest()
    plain = write(tmp_path / "plain", **{digest: "x"})
    assert file_sha256(plain, digest) == hashlib.sha256(b"x").hexdigest()


# Files to carry over, files to leave


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
    {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def test_what_is_carried_over_and_what_is_stale(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        **{
            "modules.json": json.dumps(MODULES),
            "1_Pooling/config.json": "{}",
            "2_Dense/config.json": "{}",
            "2_Dense/model.safetensors": "x",
            "2_Dense/pytorch_model.bin": "x",
            "2_Dense/vocab.txt": "x",
            "2_Dense/module.py": "x",
            **dict.fromkeys(
                [
                    "config_sentence_transformers.json", "sentence_bert_config.json", "chat_template.jinja",
                    "additional_chat_templates/tool.jinja", "additional_chat_templates/evil.py", "LICENSE.txt",
                    "preprocessor_config.json", "config.json", "generation_config.json", "tokenizer.json",
                    "tokenizer_config.json", "special_tokens_map.json", "model.safetensors", "pytorch_model.bin",
                    "README.md", "modeling.py", "onnx/model.onnx", "training_args.bin", "sentencepiece.bpe.model",
                    "spiece.model", "vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "source.spm",
                    "tokenizer.model", "optimizer.pt",
                ],
                "x",
            ),
        },
    )  # fmt: skip
    assert copied_files(root) == [
        "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "LICENSE.txt",
        "additional_chat_templates/tool.jinja", "chat_template.jinja", "config_sentence_transformers.json",
        "modules.json", "preprocessor_config.json", "sentence_bert_config.json",
    ]  # fmt: skip
    assert stale_files(root) == [
        "added_tokens.json", "merges.txt", "sentencepiece.bpe.model", "source.spm", "spiece.model", "tokenizer.model",
        "vocab.json", "vocab.txt",
    ]  # fmt: skip


def test_a_plain_model_carries_nothing_over(tmp_path: Path) -> None:
    write(tmp_path, **{"config.json": "{}", "tokenizer.json": "{}"})
    assert (copied_files(tmp_path), stale_files(tmp_path)) == ([], [])


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"a": 1}, "must be a list of modules"),
        ([1], "must be a list of modules"),
        ([{"path": "x"}], "must be a list of modules"),
        ([{"path": 1, "type": "a.Pooling"}], "must be a list of modules"),
        ([{"path": "../x", "type": "a.Pooling"}], "leads out of the model directory"),
        ([{"path": "/etc", "type": "a.Pooling"}], "leads out of the model directory"),
        ([{"path": "0_T", "type": "a.Transformer"}], "the transformer lies in the folder '0_T'"),
        ([{"path": "0", "type": "a.StaticEmbedding"}], "'StaticEmbedding' holds a value for each token"),
    ],
)
def test_modules_that_cannot_be_carried_over_are_refused(tmp_path: Path, modules: Any, message: str) -> None:
    write(tmp_path, **{"modules.json": json.dumps(modules)})
    with pytest.raises(InputError, match=message):
        copied_files(tmp_path)


def test_a_module_with_pickled_weights_only_is_refused(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{"modules.json": json.dumps(MODULES), "2_Dense/pytorch_model.bin": "", "2_Dense/config.json": ""},
    )
    with pytest.raises(InputError, match=r"2_Dense/pytorch_model.bin: pickled weights of the module 'Dense'"):
        copied_files(tmp_path)


@pytest.mark.parametrize("target", ["secret", "."])
def test_links_out_of_a_module_are_refused(tmp_path: Path, target: str) -> None:
    write(tmp_path, **{"secret": "x"})
    root = write(tmp_path / "model", **{"modules.json": json.dumps(MODULES), "1_Pooling/config.json": "{}"})
    (root / "1_Pooling" / "stolen.json").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="is a link that leaves the model directory"):
        copied_files(root)


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path, **{"modules.json": json.dumps(MODULES), "1_Pooling/config.json": "{}"})
    for number in range(1001):
        (root / "1_Pooling" / f"{number}.json").touch()
    with pytest.raises(InputError, match="more than 1000 files"):
        copied_files(root)
