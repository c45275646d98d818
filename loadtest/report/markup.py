"""HTML and SVG as text in which everything is escaped that is not markup already."""

from collections.abc import Iterable
from html import escape
from typing import Final

_VOID: Final = {"meta"}


class Markup(str):
    """Text that is markup, as element() returns it: nothing in it needs escaping."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; children that are not Markup are escaped.

    In the names of attributes "_" stands for "-", and one at the end is dropped ("class_"). An
    attribute that is None is left out; a number is a length in pixels, to a tenth.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_format(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Return children one after the other, those that are not Markup escaped."""
    return Markup("".join(each if isinstance(each, Markup) else escape(each) for each in children))


def table(header: Iterable[str], rows: Iterable[Iterable[str]], **attributes: str) -> Markup:
    """Return a table; the first cell of each row is its heading."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = (
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in cells))
        for first, *cells in rows
    )
    content = element("table", element("thead", head), element("tbody", *body), **attributes)
    return element("div", content, class_="scroll")


def _format(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
