"""The page for a failed handler: text or HTML, with the traceback only where that is wanted."""

import pytest

from gateway.web.error_pages import failure_page

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def fail(message):
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", BROWSER])
def test_a_page_ends_the_connection_and_tells_nothing_of_the_failure(accept):
    page = failure_page(fail("secret"), accept=accept, debug=False)
    assert page.status == 500
    assert page.keep_alive is False
    assert "Server got itself in trouble" in page.text
    assert "secret" not in page.text
    assert page.content_type == ("text/html" if accept == BROWSER else "text/plain")


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_a_page_shows_the_traceback_when_debugging(accept):
    page = failure_page(fail("why"), accept=accept, debug=True)
    assert "in fail\n" in page.text
    assert "ValueError: why" in page.text


def test_markup_in_a_traceback_is_shown_and_not_obeyed():
    page = failure_page(fail("<script>'&"), accept=BROWSER, debug=True)
    assert "<script>" not in page.text
    assert "&lt;script&gt;&#x27;&amp;" in page.text


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_a_header_that_is_no_utf_8_can_be_in_a_traceback(accept):
    page = failure_page(fail("no \udcff"), accept=accept, debug=True)
    assert "ValueError: no \\udcff" in page.text
