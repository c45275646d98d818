"""Requests that aiohttp's C parser reads are read here and the others refused, but for a table."""

import asyncio

import pytest
from hypothesis import HealthCheck, example, given, settings

from protocol.errors import HTTPError
from protocol.head import HeadLimits
from protocol.http1 import RequestDecoder, RequestHead
from tests.protocol.wires import wires

http_parser = pytest.importorskip("aiohttp.http_parser")
base_protocol = pytest.importorskip("aiohttp.base_protocol")
exceptions = pytest.importorskip("aiohttp.http_exceptions")

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

# What only this decoder refuses, by its words: an example and the reason.
REFUSED_HERE = {
    "The request target is not valid": (
        GET.replace(b"/", b"*", 1),
        "RFC 9112 section 3.2.4: the asterisk is for OPTIONS; and hosts in targets are checked",
    ),
    "The request target has a fragment": (
        GET.replace(b"/", b"/#a", 1),
        "RFC 9112 section 3.2: no form of a target has one; proxies do not agree on what it means",
    ),
    "There is more than one space in a row in the request line": (
        GET.replace(b" ", b"  ", 1),
        "RFC 9112 section 3: lenient parsing can result in request smuggling",
    ),
    "A CR or LF stands alone before the request": (
        b"\n" + GET,
        "RFC 9112 section 2.2: only CRLF is ignored; a bare CR is invalid",
    ),
    "The version is neither HTTP/1.1 nor HTTP/1.0": (
        GET.replace(b"1.1", b"2.0"),
        "RFC 9110 section 15.6.6: what HTTP/2.0 means on this connection nobody knows",
    ),
    "There is no Host": (
        b"GET / HTTP/1.1\r\n\r\n",
        "RFC 9112 section 3.2, and aiohttp since 3.14",
    ),
    "The Host is not valid": (
        GET.replace(b"Host: a", b"Host: a b"),
        "RFC 9112 section 3.2: 400 for an invalid value",
    ),
    "HTTP/1.0 has no Transfer-Encoding": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112 section 6.1: its framing is to be treated as faulty",
    ),
    "The only Transfer-Encoding understood is chunked": (
        GET[:-2] + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "RFC 9112 section 6.1: 501 for a coding that is not understood",
    ),
    "The last Transfer-Encoding is not chunked": (
        GET[:-2] + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        "who writes an empty element into this list hopes that somebody reads it otherwise",
    ),
    "The Content-Length has too many digits": (
        GET[:-2] + b"Content-Length: " + b"0" * 20 + b"1\r\n\r\nx",
        "nobody writes such a number",
    ),
    "The only expectation understood is 100-continue": (
        GET[:-2] + b"Expect: wonders\r\n\r\n",
        "RFC 9110 section 10.1.1: 417 for an expectation that cannot be met",
    ),
}
# What only aiohttp's parser refuses, by its exceptions: an example and the reason.
REFUSED_THERE = {
    "BadHttpMethod": (GET.replace(b"GET", b"FETCH"), "RFC 9110 section 9.1: any token is a method"),
    "BadStatusLine": (GET.replace(b"GET", b"PRI"), "likewise"),
    "BadHttpMessage": (
        b"GET / HTTP/1.0\r\n\r\nx",
        "what follows the last request of a connection is not read here",
    ),
}


@pytest.fixture(scope="module")
def refused_there():
    """Return the name of what aiohttp's parser raises for a wire, or None."""
    loop = asyncio.new_event_loop()

    def feed(wire):
        protocol = base_protocol.BaseProtocol(loop)
        parser = http_parser.HttpRequestParser(protocol, loop, 2**16, auto_decompress=False)
        try:
            parser.feed_data(wire)
        except exceptions.HttpProcessingError as error:
            return type(error).__name__
        return None

    yield feed
    loop.close()


def refused_here(wire):
    """Return what is wrong with a wire, or None.

    Where an upgrade was offered only the first head counts: aiohttp's parser drops most of what
    else it is fed, also where the server goes on in HTTP.
    """
    for event in RequestDecoder(HeadLimits()).feed(wire):
        if type(event) is HTTPError:
            return event.message
        if type(event) is RequestHead and b"pgrade" in wire:
            break
    return None


@pytest.mark.parametrize("message", REFUSED_HERE)
def test_what_only_this_decoder_refuses_is_in_the_table(refused_there, message):
    wire, _ = REFUSED_HERE[message]
    assert (refused_here(wire), refused_there(wire)) == (message, None)


@pytest.mark.parametrize("name", REFUSED_THERE)
def test_what_only_their_parser_refuses_is_in_the_table(refused_there, name):
    wire, _ = REFUSED_THERE[name]
    assert (refused_here(wire), refused_there(wire)) == (None, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
@given(wires())
@example(GET[:-2] + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n\0")
@example(b"PUT / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nx")
def test_both_refuse_the_same_but_for_the_tables(refused_there, wire):
    here, there = refused_here(wire), refused_there(wire)
    if (here is None) is not (there is None):
        assert here in REFUSED_HERE or there in REFUSED_THERE
