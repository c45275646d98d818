"""A file's name tells what it is."""

import pytest

from gateway.web.media_types import guess_content_type


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.html", "text/html"),
        ("a.JSON", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.br", "application/x-brotli"),
        ("data:text", None),
        ("a", None),
    ],
)
def test_the_name_tells_the_content_type(name, content_type):
    assert guess_content_type(name) == content_type
