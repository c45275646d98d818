"""Text in the charset that a peer names, and only in charsets of text."""

import codecs

import pytest

from gateway.web.charset import decode_text
from gateway.web.exceptions import HTTPUnsupportedMediaType, MalformedBodyError


@pytest.mark.parametrize(
    ("charset", "data"),
    [
        ("utf-8", "č".encode()),
        ("UTF8", "č".encode()),
        ("utf-8-sig", "\ufeffč".encode()),
        ("utf-16", "č".encode("utf-16")),
        ("ISO-8859-2", b"\xe8"),
        ("windows-1250", b"\xe8"),
        ("latin2", b"\xe8"),
        ("\0 iso 8859~2\0", b"\xe8"),
    ],
)
def test_text_is_decoded_in_the_charset_of_many_names(charset, data):
    assert decode_text(data, charset) == "č"


@pytest.mark.parametrize(
    "charset",
    [
        *("", "klingon", "utf-8x", "č", "\udce9", "x" * 8000, "../utf_8", "aliases"),
        *("hex", "base64", "rot13", "idna", "punycode", "unicode_escape", "raw-unicode-escape"),
        "undefined",
    ],
)
def test_what_is_no_charset_of_text_is_an_unsupported_media_type(charset):
    with pytest.raises(HTTPUnsupportedMediaType):
        decode_text(b"a", charset)


def test_python_which_forgets_no_name_is_not_asked_for_those_of_peers():
    asked = []
    codecs.register(asked.append)
    try:
        with pytest.raises(HTTPUnsupportedMediaType):
            decode_text(b"a", "unheard-of")
        with pytest.raises(LookupError):
            b"a".decode("unheard-of")
    finally:
        codecs.unregister(asked.append)
    assert asked == ["unheard_of"]


@pytest.mark.parametrize(("charset", "data"), [("utf-8", b"\xff"), ("ascii", "č".encode())])
def test_what_is_not_in_its_charset_is_a_bad_request_and_what_decoding_raises(charset, data):
    with pytest.raises(UnicodeDecodeError) as caught:
        decode_text(data, charset)
    assert isinstance(caught.value, MalformedBodyError)
    assert caught.value.object == data
    assert caught.value.status == 400
    assert "The text is not in its charset: " in caught.value.text
