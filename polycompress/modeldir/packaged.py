"""Data files of installed packages, found through their lists of files; the packages are never imported."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from polycompress.errors import InputError


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A data file of an installed package.

    Attributes:
        package: Name of the package.
        version: Its version.
        name: The file's name in the package's list of files.
        path: Where it lies.
        sha256: What that list says of the contents, in hexadecimal, where it does.
    """

    package: str
    version: str
    name: str
    path: Path
    sha256: str | None

    def check(self, sha256: str) -> None:
        """Compare the contents with the package's own list.

        Args:
            sha256: SHA-256 of the contents, in hexadecimal.

        Raises:
            InputError: They differ.
        """
        if self.sha256 not in (None, sha256):
            raise InputError(
                f"{self.path}: SHA-256 is {sha256}, but the package {self.package} {self.version} lists "
                f"{self.sha256}: the file is damaged. Install the package again: pip install "
                f"--force-reinstall {self.package}=={self.version}"
            )


def packaged_file(package: str, name: str) -> PackagedFile:
    """A data file of an installed package.

    Args:
        package: Name of the package.
        name: Name of the file in the package's list of files.

    Raises:
        PackageNotFoundError: The package is not installed.
        InputError: It does not hold the file.
    """
    found = find_packaged_file(package, name)
    if found is None:
        version = metadata.version(package)
        raise InputError(
            f"The installed package {package} {version} lists no file '{name}'. Install another version of "
            f"it, or the same again: pip install --force-reinstall {package}=={version}"
        )
    return found


def find_packaged_file(package: str, name: str) -> PackagedFile | None:
    """A data file of an installed package, or None where the package does not list it.

    Raises:
        PackageNotFoundError: The package is not installed.
    """
    distribution = metadata.distribution(package)
    for file in distribution.files or ():
        if file.as_posix() == name:
            digest = None
            if file.hash is not None and file.hash.mode == "sha256":
                digest = base64.urlsafe_b64decode(file.hash.value + "==").hex()
            return PackagedFile(package, distribution.version, name, Path(str(file.locate())), digest)
    return None
