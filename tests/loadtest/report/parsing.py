"""Reads pages as a browser does, strictly: every element that begins has to end."""

from html.parser import HTMLParser

_VOID = {"meta"}


class Parsed(HTMLParser):
    """A page, taken apart; made from one whose elements do not nest it raises AssertionError."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that this element is the one that has begun last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)

    def find(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all elements of that name."""
        return [attributes for name, attributes in self.elements if name == tag]
