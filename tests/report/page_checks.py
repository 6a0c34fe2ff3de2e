"""What every page keeps: it loads and runs nothing, its elements close, headings are in order, pictures have words."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """A page that was looked at from beginning to end."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})
    OUTSIDE = frozenset({"script", "link", "img", "iframe", "object", "base", "form"})
    DRAWN = frozenset({"line", "circle", "polyline", "rect", "path", "meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        """What would load or run something."""
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.pictures = 0
        self.tables_of_pictures = 0
        self.feed(text)
        self.close()
        assert self.open == []
        assert self.headings[:1] == [1] and self.headings.count(1) == 1
        assert all(
            after - before <= 1 for before, after in zip(self.headings, self.headings[1:], strict=False)
        )
        assert len(set(self.ids)) == len(self.ids)
        assert set(self.targets) <= set(self.ids)
        assert self.tables_of_pictures == self.pictures
        for part in ('<html lang="en">', 'name="viewport"', "prefers-color-scheme: dark", "@media print"):
            assert part in text, part

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        target = found.get("href") or ""
        if tag in self.OUTSIDE or "src" in found or any(name.startswith("on") for name in found):
            self.outside.append(tag)
        if target.startswith("#"):
            self.targets.append(target[1:])
        elif "href" in found:
            self.outside.append(target)
        if "id" in found:
            self.ids.append(found["id"] or "")
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))
        if tag == "svg":
            assert found["role"] == "img" and found["aria-label"]
            self.pictures += 1
        if tag == "table" and "figure" in self.open:
            self.tables_of_pictures += 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in self.DRAWN

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
