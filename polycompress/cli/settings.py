"""What the environment says to the program: named once, for the help, the documentation and a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SETTINGS: Final[Mapping[str, str]] = {
    "POLYCOMPRESS_CACHE": "Directory of what can be made again: the demo model, hashes of files. Else "
    "`$XDG_CACHE_HOME/polycompress`, else `~/.cache/polycompress`.",
    "POLYCOMPRESS_CONFIG": "File with defaults of options. Else `$XDG_CONFIG_HOME/polycompress/config.toml`, else "
    "`~/.config/polycompress/config.toml`.",
    "POLYCOMPRESS_DATA": "Directory of data that tasks and recipes read, where `--data` is not given.",
}
"""Of our own; they hold for every command that needs them."""

EPILOG: Final = "\n\n".join(
    [
        "Environment:",
        *(f"`{name}`: {meaning}" for name, meaning in SETTINGS.items()),
        "`NO_COLOR`: No colours.",
    ]
)
"""What the help of the program ends with."""
