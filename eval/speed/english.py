"""Make a corpus of one language written with spaces, 50 MB of it, from what Debian packages: English documentation.

The text of the packages in ``PACKAGES``: the sources of the kernel's documentation, and HTML of the others.
Paragraphs of six words or more, each distinct paragraph once, white space made single, one a line.

    python eval/speed/english.py english.txt.gz
"""

from __future__ import annotations

import gzip
import html
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("linux-doc", "openjdk-17-doc", "postgresql-doc", "wx3.2-doc", "libreoffice-help-en-us")
FEWEST_WORDS = 6
_SKIPPED = re.compile(r"<(script|style|head|nav)\b.*?</\1>", re.S | re.I)
_BLOCK = re.compile(r"</?(?:p|div|li|td|th|tr|h\d|dd|dt|br|section|table|ul|ol|pre|dl|caption)\b[^>]*>", re.I)
_TAG = re.compile(r"<[^>]+>")
_DEPENDS = re.compile(r"^\s*Depends: (\S+-doc-\S+)$", re.M)


def download(package: str, folder: Path) -> Path:
    """Unpack a Debian package, or the one that it only points to; nothing is installed."""
    shown = subprocess.run(
        ["apt-cache", "depends", package], capture_output=True, text=True, check=True
    ).stdout
    pointed = _DEPENDS.search(shown)
    name = pointed[1] if pointed else package
    subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    (archive,) = folder.glob(f"{name}_*.deb")
    target = folder / name
    subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    return target


def paragraphs(path: Path) -> Iterator[str]:
    """Paragraphs of an HTML or reStructuredText file."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")
    if ".htm" in path.name:
        text = html.unescape(_TAG.sub("", _BLOCK.sub("\n\n", _SKIPPED.sub(" ", text))))
    for part in re.split(r"\n\s*\n", text):
        words = part.split()
        if len(words) >= FEWEST_WORDS:
            yield " ".join(words)


def english(folder: Path) -> Iterator[str]:
    """Every distinct paragraph of the packages."""
    seen = set()
    for package in PACKAGES:
        root = download(package, folder)
        for path in sorted(root.rglob("*")):
            wanted = path.name.endswith(
                (".rst.gz", ".rst", ".rst.txt") if "linux" in root.name else (".html",)
            )
            if not wanted or path.is_symlink() or not path.is_file() or "translations" in path.parts:
                continue
            for paragraph in paragraphs(path):
                if paragraph not in seen:
                    seen.add(paragraph)
                    yield paragraph


def main() -> None:
    """Write the corpus and say how large it is."""
    size = 0
    with tempfile.TemporaryDirectory() as folder, gzip.open(sys.argv[1], "wt", encoding="utf-8") as out:
        for paragraph in english(Path(folder)):
            size += out.write(paragraph + "\n")
    print(f"{size / 1e6:.1f} million characters")


if __name__ == "__main__":
    main()
