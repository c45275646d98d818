"""HTML in which nothing is markup that was not made as such."""

import pytest

from loadtest.report.markup import Markup, element, join, table

HOSTILE = "</title><script>alert('1')</script>&amp;\""
ESCAPED = "&lt;/title&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&amp;amp;&quot;"


def test_text_is_escaped_wherever_it_stands() -> None:
    assert element("p", HOSTILE) == f"<p>{ESCAPED}</p>"
    assert element("p", title=HOSTILE) == f'<p title="{ESCAPED}"></p>'
    assert join([HOSTILE, element("p")]) == f"{ESCAPED}<p></p>"
    assert HOSTILE not in table([HOSTILE], [[HOSTILE, HOSTILE]])


def test_elements_are_not_escaped_inside_others() -> None:
    assert element("p", "a ", element("b", "c")) == "<p>a <b>c</b></p>"
    assert isinstance(element("p"), Markup)


@pytest.mark.parametrize(
    ("attributes", "written"),
    [
        ({"class_": "a"}, ' class="a"'),
        ({"aria_hidden": "true"}, ' aria-hidden="true"'),
        ({"x": 1.26, "y": 2.0}, ' x="1.3" y="2"'),
        ({"class_": None}, ""),
    ],
)
def test_attributes_are_written_as_html_has_them(
    attributes: dict[str, str | float | None], written: str
) -> None:
    assert element("path", **attributes) == f"<path{written}></path>"


def test_an_element_that_has_no_end_gets_none() -> None:
    assert element("meta", name="a", content="b") == '<meta name="a" content="b">'


def test_a_table_has_a_heading_for_each_column_and_row() -> None:
    made = table(["latency", "a"], [["50 %", "1 ms"]])
    assert '<th scope="col">latency</th><th scope="col">a</th>' in made
    assert '<th scope="row">50 %</th><td>1 ms</td>' in made
