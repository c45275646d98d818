"""The responses in the bytes that a server sent, read as RFC 9112 says and no more leniently."""

import re
from collections.abc import Iterator

from multidict import CIMultiDict

STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t \x21-\x7e\x80-\xff]*)")


class Answer:
    """One response; its body without chunks."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status_line = STATUS_LINE.fullmatch(first)
        assert status_line, first
        self.version, self.reason = status_line[1].decode(), status_line[3].decode()
        self.status = int(status_line[2])
        self.headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            field = FIELD.fullmatch(line)
            assert field, line
            self.headers.add(field[1].decode(), field[2].decode("latin-1"))
        self.body = b""

    @property
    def has_body(self) -> bool:
        """Whether a body may follow, unless HEAD was asked."""
        return self.status >= 200 and self.status not in (204, 304)


class Answers(list[Answer]):
    """All responses of one connection that has been closed.

    methods says by number which final ones answer another method than GET. is_broken_off tells
    whether the last one has no end.
    """

    def __init__(self, sent: bytes, methods: dict[int, str] | None = None) -> None:
        super().__init__()
        self.is_broken_off = False
        self._rest = sent
        while self._rest:
            self._take(methods or {})

    def _take(self, methods: dict[int, str]) -> None:
        head, found, self._rest = self._rest.partition(b"\r\n\r\n")
        assert found, head
        answer = Answer(head)
        finals = sum(earlier.status >= 200 for earlier in self)
        self.append(answer)
        method = methods.get(finals)
        if answer.status == 101 or (method == "CONNECT" and answer.status < 300):
            assert not answer.headers.keys() & {"Content-Length", "Transfer-Encoding"}
            self._rest = b""  # another protocol
        if not answer.has_body or method == "HEAD":
            return
        lengths = answer.headers.getall("Content-Length", [])
        codings = answer.headers.getall("Transfer-Encoding", [])
        assert len(lengths) + len(codings) <= 1
        if codings:
            assert codings == ["chunked"]
            answer.body = b"".join(self._take_chunks())
        elif lengths:
            length = int(lengths[0])
            answer.body, self._rest = self._rest[:length], self._rest[length:]
            self.is_broken_off = len(answer.body) < length
        else:
            assert answer.version == "HTTP/1.0" or answer.headers["Connection"] == "close"
            answer.body, self._rest = self._rest, b""

    def _take_chunks(self) -> Iterator[bytes]:
        while True:
            size, found, rest = self._rest.partition(b"\r\n")
            if not found:
                self.is_broken_off = True
                self._rest = b""
                return
            length = int(size, 16)
            assert rest[length : length + 2] == b"\r\n"[: len(rest) - length]
            self._rest = rest[length + 2 :]
            if not length:
                return
            yield rest[:length]
