"""``polycompress moe``: what the help of the group says. Its commands have modules of their own."""

from __future__ import annotations

from typing import Final

HELP: Final = """Experts of language families: give a model some (`upcycle`), or make them of several models (`merge`);
train them (`train`), see which experts languages reach (`routes`), take one family's model out again (`extract`).

In the last layers each family of languages has a feed-forward network of its own, and a router says which of them a
token goes to. Such models load after `import polycompress.auto`, and in all commands here.

Examples:
    polycompress moe upcycle demo --langs de,nl,sv,fr,es,it,sw,zu,ru,uk --out moe

    polycompress moe train moe --teacher demo --corpus de=de.txt.gz --corpus fr=fr.txt.gz --steps 2000 --out moe-trained

    polycompress moe extract moe --family Romance --trim --out romance

    polycompress moe merge romance-student germanic-student --out moe
"""
