"""``python -m polycompress``."""

from polycompress.cli.main import main

main()
