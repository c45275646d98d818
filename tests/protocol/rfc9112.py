"""Requests by the chapters of RFC 9112: which are refused with which status, and which are read.

The decoder is tested with these tables at every cut, the server over sockets.
"""


def wire_of(*lines, body=b""):
    return b"\r\n".join([line.encode() for line in lines]) + b"\r\n\r\n" + body


def cuts(wire):
    """Yield wire in one piece, in two at every place, and byte by byte."""
    yield [wire]
    for i in range(1, len(wire)):
        yield [wire[:i], wire[i:]]
    yield [wire[i : i + 1] for i in range(len(wire))]


GET = wire_of("GET / HTTP/1.1", "Host: a")
POST_CHUNKED = wire_of("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")


def get(*lines):
    return wire_of("GET / HTTP/1.1", "Host: a", *lines)


MALFORMED = {
    # RFC 9112 section 2.2 and 3: the request line.
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    "bare LF for the empty line": (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\rHost: a\r\r", 400),
    "leading space": (b" " + GET, 400),
    "tab for a space": (GET.replace(b" ", b"\t", 1), 400),
    "trailing space": (GET.replace(b"1.1", b"1.1 "), 400),
    "tab before the method": (b"\t" + GET, 400),
    "two spaces behind the method": (GET.replace(b" ", b"  ", 1), 400),
    "two spaces before the version": (GET.replace(b" H", b"  H", 1), 400),
    "method that is no token": (GET.replace(b"GET", b"G@T"), 400),
    "known method that goes on as no token": (GET.replace(b"GET", b"GET@"), 400),
    "no method": (GET.replace(b"GET", b""), 400),
    "method that is too long": (b"A" * 65 + GET, 501),
    "method that does not end": (b"A" * 200, 501),
    "bare LF before the method": (b"\n" + GET, 400),
    "bare CR before the method": (b"\r\n\r" + GET, 400),
    "too many empty lines": (b"\r\n" * 513, 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no target": (b"GET HTTP/1.1\r\n\r\n", 400),
    "no slash": (GET.replace(b"/ ", b"a ", 1), 400),
    "asterisk to GET": (GET.replace(b"/ ", b"* ", 1), 400),
    "fragment in the target": (GET.replace(b"/ ", b"/#a ", 1), 400),
    "user in an absolute target": (GET.replace(b"/ ", b"http://u@b/ ", 1), 400),
    "absolute target with a port alone": (GET.replace(b"/ ", b"http://:80/ ", 1), 400),
    "absolute target with a fragment": (GET.replace(b"/ ", b"http://b/#c ", 1), 400),
    "no port to CONNECT": (GET.replace(b"GET /", b"CONNECT b"), 400),
    "empty port to CONNECT": (GET.replace(b"GET /", b"CONNECT b:"), 400),
    "port 0 to CONNECT": (GET.replace(b"GET /", b"CONNECT b:00"), 400),
    "no host to CONNECT": (GET.replace(b"GET /", b"CONNECT :80"), 400),
    "address without a port to CONNECT": (GET.replace(b"GET /", b"CONNECT [::1]"), 400),
    "path to CONNECT": (GET.replace(b"GET", b"CONNECT"), 400),
    "port to CONNECT that is none": (GET.replace(b"GET /", b"CONNECT b:x"), 400),
    "absolute target without host": (GET.replace(b"/ ", b"http:///b ", 1), 400),
    "absolute target with two ports": (GET.replace(b"/ ", b"http://b:1:2/ ", 1), 400),
    "absolute target with a large port": (GET.replace(b"/ ", b"http://b:65536/ ", 1), 400),
    "control character in the target": (GET.replace(b"/ ", b"/\x01 ", 1), 400),
    "NUL in the target": (GET.replace(b"/ ", b"/\x00 ", 1), 400),
    "DEL in the target": (GET.replace(b"/ ", b"/\x7f ", 1), 400),
    "non-ASCII in the target": (GET.replace(b"/ ", b"/?\xc3\xa9 ", 1), 400),
    "vertical tab for a space": (GET.replace(b" ", b"\x0b", 1), 400),
    "tab before the version": (GET.replace(b" H", b"\tH", 1), 400),
    "tab behind the version": (GET.replace(b"1.1", b"1.1\t"), 400),
    "space in the target": (GET.replace(b"/ ", b"/a b ", 1), 400),
    "bare CR in the target": (GET.replace(b"/ ", b"/a\rb ", 1), 400),
    "bare LF in the target": (GET.replace(b"/ ", b"/a\nb ", 1), 400),
    "no target but a space": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "query without a path": (GET.replace(b"/ ", b"?a ", 1), 400),
    "authority to GET": (GET.replace(b"/ ", b"b:80 ", 1), 400),
    "scheme without an authority": (GET.replace(b"/ ", b"http:b ", 1), 400),
    "more than an asterisk": (b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "user to CONNECT": (GET.replace(b"GET /", b"CONNECT u@b:80"), 400),
    "no target to CONNECT": (GET.replace(b"GET /", b"CONNECT "), 400),
    "absolute target to CONNECT": (GET.replace(b"GET /", b"CONNECT http://b:80"), 400),
    "large port to CONNECT": (GET.replace(b"GET /", b"CONNECT b:65536"), 400),
    "absolute target with a user and a bracket": (GET.replace(b"/ ", b"http://)]@a ", 1), 400),
    "absolute target with half of an address": (GET.replace(b"/ ", b"http://[::1/ ", 1), 400),
    "method with a control character": (GET.replace(b"GET", b"G\x00T"), 400),
    "method that is not ASCII": (GET.replace(b"GET", b"G\xc3\x89T"), 400),
    "response": (b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n", 400),
    # RFC 9110 section 2.5 and 15.6.6: versions.
    "no version": (b"GET /\r\n\r\n", 505),
    "no version, and more behind it": (b"GET /\n\r\na: b\r\n\r\n", 505),
    "no version, but one in a field": (b"GET /x\r\nA: HTTP/1.1\r\nHost: a\r\n\r\n", 505),
    "HTTP/0.9": (GET.replace(b"1.1", b"0.9"), 505),
    "HTTP/1.2": (GET.replace(b"1.1", b"1.2"), 505),
    "HTTP/2.0": (GET.replace(b"1.1", b"2.0"), 505),
    "HTTP/3.0": (GET.replace(b"1.1", b"3.0"), 505),
    "RTSP/1.0": (GET.replace(b"HTTP/1.1", b"RTSP/1.0"), 505),
    "ICE/1.0": (GET.replace(b"GET / HTTP/1.1", b"SOURCE / ICE/1.0"), 505),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.10": (GET.replace(b"1.1", b"1.10"), 400),
    "http/1.1": (GET.replace(b"HTTP", b"http"), 400),
    "HTTP/1.9": (GET.replace(b"1.1", b"1.9"), 505),
    "HTTP/2": (GET.replace(b"1.1", b"2"), 400),
    "HTTP/1.": (GET.replace(b"1.1", b"1."), 400),
    "HTTP/01.1": (GET.replace(b"1.1", b"01.1"), 400),
    "HTTP/1,1": (GET.replace(b"1.1", b"1,1"), 400),
    "HTTP/ 1.1": (GET.replace(b"1.1", b" 1.1"), 400),
    "HTTP/x.y": (GET.replace(b"1.1", b"x.y"), 400),
    "HTTPS/1.1": (GET.replace(b"HTTP", b"HTTPS"), 400),
    # RFC 9112 section 5: fields.
    "obsolete folding": (get("X: a", " b"), 400),
    "obsolete folding by a tab": (get("X: a", "\tb"), 400),
    "space before the first field": (wire_of("GET / HTTP/1.1", " Host: a"), 400),
    "space before the colon": (get("X : a"), 400),
    "no colon": (get("X"), 400),
    "no name": (get(": a"), 400),
    "name that is no token": (get("X(: a"), 400),
    "name that is not ASCII": (get("é: a"), 400),
    "NUL in a value": (get("X: a\0b"), 400),
    "control character in a value": (get("X: a\x01b"), 400),
    "DEL in a value": (get("X: a\x7fb"), 400),
    "bare CR in a value": (get("X: a\rb"), 400),
    "folding of an empty value": (get("X:", " b"), 400),
    "folding before the empty line": (get("X: a", " "), 400),
    "tab before the first field": (wire_of("GET / HTTP/1.1", "\tHost: a"), 400),
    "tab before the colon": (get("X\t: a"), 400),
    "NUL in a name": (get("X\0: a"), 400),
    "bare LF in a name": (get("X\nY: a"), 400),
    "bare LF in a value": (get("X: a\nY: b"), 400),
    "bare CR before CRLF": (get("X: a\r"), 400),
    "vertical tab in a value": (get("X: a\x0bb"), 400),
    "form feed in a value": (get("X: \x0ca"), 400),
    "brackets in a name": (get("X[]: a"), 400),
    "quotes in a name": (get('"X": a'), 400),
    "comma in a name": (get("X,Y: a"), 400),
    "empty line of CR and CR": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r", 400),
    # RFC 9112 section 3.2: Host.
    "no Host": (wire_of("GET / HTTP/1.1"), 400),
    "two Hosts": (get("host: a"), 400),
    "two Hosts in HTTP/1.0": (get("host: a").replace(b"1.1", b"1.0"), 400),
    "space in Host": (wire_of("GET / HTTP/1.1", "Host: a b"), 400),
    "slash in Host": (wire_of("GET / HTTP/1.1", "Host: a/b"), 400),
    "user in Host": (wire_of("GET / HTTP/1.1", "Host: a@b"), 400),
    "non-ASCII in Host": (wire_of("GET / HTTP/1.1", "Host: é"), 400),
    "two ports in Host": (wire_of("GET / HTTP/1.1", "Host: a:1:2"), 400),
    "large port in Host": (wire_of("GET / HTTP/1.1", "Host: a:65536"), 400),
    "port alone in Host": (wire_of("GET / HTTP/1.1", "Host: :80"), 400),
    "broken encoding in Host": (wire_of("GET / HTTP/1.1", "Host: a%g0"), 400),
    "half of an address in Host": (wire_of("GET / HTTP/1.1", "Host: [::1"), 400),
    "Host in a list": (wire_of("GET / HTTP/1.1", "Host: a, b c"), 400),
    "URL in Host": (wire_of("GET / HTTP/1.1", "Host: http://a"), 400),
    "query in Host": (wire_of("GET / HTTP/1.1", "Host: a?b"), 400),
    "control character in Host": (wire_of("GET / HTTP/1.1", "Host: a\tb"), 400),
    "address without brackets in Host": (wire_of("GET / HTTP/1.1", "Host: ::1"), 400),
    "no address in the brackets of Host": (wire_of("GET / HTTP/1.1", "Host: [a]"), 400),
    "zone in the brackets of Host": (wire_of("GET / HTTP/1.1", "Host: [fe80::1%25eth0]"), 400),
    "port of letters in Host": (wire_of("GET / HTTP/1.1", "Host: a:b"), 400),
    "signed port in Host": (wire_of("GET / HTTP/1.1", "Host: a:+1"), 400),
    "port of six digits in Host": (wire_of("GET / HTTP/1.1", "Host: a:000080"), 400),
    "two Hosts, one in the target": (
        wire_of("GET http://b/ HTTP/1.1", "Host: a", "Host: b"),
        400,
    ),
    "no Host but a target that has one": (wire_of("GET http://b/ HTTP/1.1"), 400),
    # RFC 9112 section 6: where the body ends.
    "length and coding": (get("Content-Length: 4", "Transfer-Encoding: chunked"), 400),
    "coding and length": (get("Transfer-Encoding: chunked", "Content-Length: 4"), 400),
    "two lengths": (get("Content-Length: 4", "Content-Length: 4"), 400),
    "list of lengths": (get("Content-Length: 4, 4"), 400),
    "length with a plus": (get("Content-Length: +4"), 400),
    "negative length": (get("Content-Length: -4"), 400),
    "length with an underscore": (get("Content-Length: 1_0"), 400),
    "length with a space": (get("Content-Length: 1 0"), 400),
    "hexadecimal length": (get("Content-Length: 0x4"), 400),
    "length in Arabic digits": (get("Content-Length: ٤"), 400),
    "empty length": (get("Content-Length:"), 400),
    "length with more digits than a number has": (get("Content-Length: " + "0" * 20 + "1"), 400),
    "length with more digits than Python reads": (get("Content-Length: " + "0" * 5000 + "1"), 400),
    "length beyond 64 bits": (get("Content-Length: 99999999999999999999"), 400),
    "unknown coding": (get("Transfer-Encoding: gzip"), 400),
    "identity": (get("Transfer-Encoding: identity"), 400),
    "almost chunked": (get("Transfer-Encoding: xchunked"), 400),
    "chunked with a parameter": (get("Transfer-Encoding: chunked;a=b"), 400),
    "chunked, but not last": (get("Transfer-Encoding: chunked, gzip"), 400),
    "chunked twice": (get("Transfer-Encoding: chunked, chunked"), 400),
    "chunked in two lines": (get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "empty coding": (get("Transfer-Encoding:"), 400),
    "quoted coding": (get('Transfer-Encoding: "chunked"'), 400),
    "nothing before chunked": (get("Transfer-Encoding: ,chunked"), 400),
    "nothing behind chunked": (get("Transfer-Encoding: chunked,"), 400),
    "two types of a body": (
        get("Content-Length: 1", "Content-Type: a/b", "Content-Type: a/b"),
        400,
    ),
    "no length and a coding": (get("Content-Length: 0", "Transfer-Encoding: chunked"), 400),
    "length and a coding that is none": (get("Content-Length: 4", "Transfer-Encoding: x"), 400),
    "length and an empty coding": (get("Content-Length: 4", "Transfer-Encoding:"), 400),
    "two different lengths": (get("Content-Length: 4", "content-length: 5"), 400),
    "list of different lengths": (get("Content-Length: 4, 5"), 400),
    "length and a comma": (get("Content-Length: 4,"), 400),
    "length of minus 0": (get("Content-Length: -0"), 400),
    "length with a fraction": (get("Content-Length: 4.0"), 400),
    "length with an exponent": (get("Content-Length: 4e0"), 400),
    "quoted length": (get('Content-Length: "4"'), 400),
    "length behind a vertical tab": (get("Content-Length: \x0b4"), 400),
    "folded length": (get("Content-Length:", " 4"), 400),
    "length that goes on in another line": (get("Content-Length: 1", " 0"), 400),
    "length of 30 digits": (get("Content-Length: " + "1" * 30), 400),
    "length of 2**64": (get("Content-Length: 18446744073709551616"), 400),
    "space before the colon of a length": (get("Content-Length : 4"), 400),
    "chunked, and identity": (get("Transfer-Encoding: chunked, identity"), 400),
    "identity, and chunked": (get("Transfer-Encoding: identity, chunked"), 501),
    "identity in a line before": (get("Transfer-Encoding: x", "Transfer-Encoding: chunked"), 501),
    "chunked and a space": (get("Transfer-Encoding: chunked chunked"), 400),
    "chunked before a tab": (get("Transfer-Encoding: chunked\t"), 400),  # llhttp is strict
    "chunked behind a vertical tab": (get("Transfer-Encoding: \x0bchunked"), 400),
    "chunked before a form feed": (get("Transfer-Encoding: chunked\x0c"), 400),
    "chunked behind a no-break space": (get("Transfer-Encoding: \xa0chunked"), 400),
    "NUL in chunked": (get("Transfer-Encoding: chun\0ked"), 400),
    "folded coding": (get("Transfer-Encoding:", " chunked"), 400),
    "coding that goes on in another line": (get("Transfer-Encoding: chunked", " , x"), 400),
    "space before the colon of a coding": (get("Transfer-Encoding : chunked"), 400),
    "space before a coding": (get(" Transfer-Encoding: chunked"), 400),
    "coding behind a bare LF": (get("X: y\nTransfer-Encoding: chunked"), 400),
    "coding behind a bare CR": (get("X: y\rTransfer-Encoding: chunked"), 400),
    "coding and nothing": (get("Transfer-Encoding: chunked", "Transfer-Encoding:"), 400),
    # RFC 9110 section 10.1.1.
    "another expectation": (get("Expect: wonders"), 417),
    "another expectation in a list": (get("Expect: 100-continue, wonders"), 417),
    "coding before chunked": (get("Transfer-Encoding: gzip, chunked"), 501),
    "coding in a line before": (get("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), 501),
    "chunked in HTTP/1.0": (get("Transfer-Encoding: chunked").replace(b"1.1", b"1.0"), 400),
}

# What follows POST_CHUNKED; all of it is answered with 400.
BROKEN_CHUNKS = {
    # RFC 9112 section 7.1: sizes.
    "size with a prefix": b"0x1\r\nx\r\n0\r\n\r\n",
    "negative size": b"-1\r\nx\r\n0\r\n\r\n",
    "size with a plus": b"+1\r\nx\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\nx\r\n0\r\n\r\n",
    "size with a space": b"1 \r\nx\r\n0\r\n\r\n",
    "no size": b"\r\nx\r\n0\r\n\r\n",
    "size beyond 64 bits": b"fffffffffffffffff\r\nx",
    "size ended by LF": b"1\nx\r\n0\r\n\r\n",
    "size behind a space": b" 1\r\nx\r\n0\r\n\r\n",
    "size before a tab": b"1\t\r\nx\r\n0\r\n\r\n",
    "size of another base": b"g\r\nx\r\n0\r\n\r\n",
    "size ended by CR": b"1\rx\r0\r\r",
    "size ended by CR CR LF": b"1\r\r\nx\r\n0\r\n\r\n",
    "size with a comma": b"1,a\r\nx\r\n0\r\n\r\n",
    "last chunk ended by LF": b"0\n\n",
    # RFC 9112 section 7.1.1: extensions.
    "space before an extension": b"1 ;a\r\nx\r\n0\r\n\r\n",
    "empty extension": b"1;\r\nx\r\n0\r\n\r\n",
    "CR in an extension": b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "NUL in an extension": b"1;a\0b\r\nx\r\n0\r\n\r\n",
    "NUL in a quoted extension": b'1;a="\0"\r\nx\r\n0\r\n\r\n',
    "CRLF in a quoted extension": b'1;a="b\r\n"\r\nx\r\n0\r\n\r\n',
    "LF in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    # RFC 9112 section 7.1.2: trailers.
    "trailers ended by LF": b"0\r\n\n",
    "trailer ended by LF": b"0\r\nA: b\n\r\n",
    "trailer without a colon": b"0\r\nA\r\n\r\n",
    "trailer without a name": b"0\r\n: b\r\n\r\n",
    "space before the colon of a trailer": b"0\r\nA : b\r\n\r\n",
    "space before a trailer": b"0\r\n A: b\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
    "request for trailers": b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    "trailer folded": b"0\r\nA: b\r\n c\r\n\r\n",
    "length as trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "coding as trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
}


# What a handler gets of it: method, target and body of each request.
READ = {
    # RFC 9112 section 2.2: empty lines before a request.
    "empty lines": (b"\r\n\r\n" + GET + b"\r\n" + GET, [("GET", "/", b"")] * 2),
    "as many empty lines as may be": ((b"\r\n" * 512 + GET) * 2, [("GET", "/", b"")] * 2),
    # RFC 9110 section 9.1: methods are tokens, and their case counts.
    "method that nobody knows": (GET.replace(b"GET", b"FETCH"), [("FETCH", "/", b"")]),
    "method in lower case": (GET.replace(b"GET", b"get"), [("get", "/", b"")]),
    "method that begins as a known one": (GET.replace(b"GET", b"GETS"), [("GETS", "/", b"")]),
    "method of another protocol": (GET.replace(b"GET", b"DESCRIBE"), [("DESCRIBE", "/", b"")]),
    "method of any token": (
        GET.replace(b"GET", b"!#$%&'*+-.^_`|~9"),
        [("!#$%&'*+-.^_`|~9", "/", b"")],
    ),
    "longest method": (GET.replace(b"GET", b"M" * 64), [("M" * 64, "/", b"")]),
    # RFC 9112 section 3.2: targets.
    "two slashes": (GET.replace(b"/ ", b"//a/ ", 1), [("GET", "//a/", b"")]),
    "percent that encodes nothing": (GET.replace(b"/ ", b"/%zz%?% ", 1), [("GET", "/%zz%?%", b"")]),
    "characters that should be encoded": (
        GET.replace(b"/ ", b'/\\"<>^`{|}[] ', 1),
        [("GET", '/\\"<>^`{|}[]', b"")],
    ),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [("OPTIONS", "*", b"")]),
    "absolute target": (GET.replace(b"/ ", b"HTTP://B:80/c ", 1), [("GET", "HTTP://B:80/c", b"")]),
    "absolute target without a path": (
        GET.replace(b"/ ", b"http://b?c ", 1),
        [("GET", "http://b?c", b"")],
    ),
    "absolute target with an address": (
        GET.replace(b"/ ", b"https://[::1]:8/ ", 1),
        [("GET", "https://[::1]:8/", b"")],
    ),
    "no Host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", [("GET", "/", b"")]),
    # RFC 9112 section 5: fields.
    "bytes beyond ASCII": (GET[:-2] + b"X: \x80\xff\r\n\r\n", [("GET", "/", b"")]),
    "name of any token": (GET[:-2] + b"!#$%&'*+-.^_`|~9: a\r\n\r\n", [("GET", "/", b"")]),
    "names that only look like framing": (
        get("Content_Length: 9", "Transfer_Encoding: chunked", "X-Content-Length: 9"),
        [("GET", "/", b"")],
    ),
    # RFC 9112 section 6: bodies.
    "length with zeros": (
        get("Content-Length: 0003") + b"abc" + GET,
        [("GET", "/", b"abc"), ("GET", "/", b"")],
    ),
    "length with space around": (get("Content-Length: \t 3 \t") + b"abc", [("GET", "/", b"abc")]),
    "body that looks like a request": (
        get(f"Content-Length: {len(GET)}") + GET,
        [("GET", "/", GET)],
    ),
    "coding with space around": (
        get("Transfer-Encoding: \t chunked ") + b"0\r\n\r\n",
        [("GET", "/", b"")],
    ),
    "coding in upper case": (get("TRANSFER-ENCODING: CHUNKED") + b"0\r\n\r\n", [("GET", "/", b"")]),
    "length in HTTP/1.0": (
        b"PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        [("PUT", "/", b"abc")],
    ),
    # RFC 9112 section 7.1: chunks.
    "sizes in both cases with zeros": (
        POST_CHUNKED + b"00a\r\n0123456789\r\n0A\r\n0123456789\r\n000\r\n\r\n" + GET,
        [("POST", "/", b"0123456789" * 2), ("GET", "/", b"")],
    ),
    "extensions": (
        POST_CHUNKED + b'1;a\r\nx\r\n1;a=b;c="\\"\xff d"\r\ny\r\n0;e\r\n\r\n' + GET,
        [("POST", "/", b"xy"), ("GET", "/", b"")],
    ),
    "trailers": (
        POST_CHUNKED + b"0\r\nHost: b\r\nExpect: c\r\nX:\r\n\r\n" + GET,
        [("POST", "/", b""), ("GET", "/", b"")],
    ),
    "data that look like the end": (
        POST_CHUNKED + b"a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n" + GET,
        [("POST", "/", b"0\r\n\r\n" * 2), ("GET", "/", b"")],
    ),
    # RFC 9112 section 9.3: what persists.
    "keep-alive and close": (get("Connection: keep-alive, close") + GET, [("GET", "/", b"")]),
    "close in another line": (
        get("Connection: x", "Connection: ,Close") + GET,
        [("GET", "/", b"")],
    ),
    "close for a proxy": (get("Proxy-Connection: close") + GET, [("GET", "/", b"")] * 2),
    "close that is no token": (get('Connection: "close"') + GET, [("GET", "/", b"")] * 2),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n" + GET, [("GET", "/", b"")]),
    "HTTP/1.0 that persists": (
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + GET,
        [("GET", "/", b"")] * 2,
    ),
    "HTTP/1.0 that persists for a proxy": (
        b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n" + GET,
        [("GET", "/", b"")],
    ),
    # RFC 9110 section 7.8: upgrades to what is not spoken here, and in HTTP/1.0.
    "upgrade to HTTP/2": (
        get("Connection: upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: ") + GET,
        [("GET", "/", b"")] * 2,
    ),
    "upgrade with a body before a close": (
        get("Connection: upgrade, close", "Upgrade: h2c", "Content-Length: 2") + b"\r\n" + GET,
        [("GET", "/", b"\r\n")],
    ),
    "upgrade with chunks before a close": (
        get("Connection: close, upgrade", "Upgrade: x", "Transfer-Encoding: chunked")
        + b"1\r\nx\r\n0\r\n\r\n",
        [("GET", "/", b"x")],
    ),
    "upgrade with a body in HTTP/1.0": (
        b"PUT / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\nx",
        [("PUT", "/", b"x")],
    ),
    "upgrade to a WebSocket": (
        get("Connection: upgrade", "Upgrade: websocket") + GET,
        [("GET", "/", b"")],
    ),
    # RFC 9110 section 9.3.6: what follows CONNECT is no request.
    "tunnel": (GET.replace(b"GET /", b"CONNECT b:80") + GET, [("CONNECT", "b:80", b"")]),
}
