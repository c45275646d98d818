"""Paging through a log in both directions while it grows and loses its oldest."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ChannelsConfig
from gateway.stream import Page, Stream
from protocol.cursor import Position
from protocol.publication import Data, Publication

AGE_S = 10.0


class Log:
    """A stream on a clock that only the test moves, and the offsets that left it."""

    def __init__(self, **bounds):
        self.now = 1_000_000.0
        config = ChannelsConfig(**({"history_age_s": AGE_S} | bounds))
        self.stream = Stream("a", "e", config, lambda: self.now)

    def append(self, count=1):
        for _ in range(count):
            self.stream.append(Publication(self.stream.last + 1, Data(b"1"), self.now))

    def page(self, position, *, limit=3, is_reverse):
        return self.stream.page(position, limit=limit, max_bytes=99, is_reverse=is_reverse)


def offsets(page: Page) -> list[int]:
    return [each.offset for each in page.publications]


def missing(page: Page) -> list[int]:
    return [] if page.missing is None else list(range(page.missing.first, page.missing.last + 1))


def test_a_page_says_whether_more_are_retained_in_its_direction():
    log = Log(history_count=5)
    log.append(9)
    for is_reverse, expected in ((False, [True, True, False]), (True, [True, True, False])):
        position, told = None, []
        for _ in range(3):
            page = log.page(position, limit=2, is_reverse=is_reverse)
            position = page.position
            told.append(page.has_more)
        assert told == expected


def test_an_empty_log_has_no_more_in_any_direction():
    for is_reverse in (False, True):
        assert not Log().page(None, is_reverse=is_reverse).has_more
        assert not Log().page(Position("e", 0), is_reverse=is_reverse).has_more
        assert not Log().page(Position("another", 7), is_reverse=is_reverse).has_more


def test_what_left_the_log_between_two_reverse_pages_is_told_once():
    log = Log(history_count=5)
    log.append(6)
    page = log.page(None, limit=2, is_reverse=True)
    assert (offsets(page), page.has_more) == ([6, 5], True)
    log.append(4)
    page = log.page(page.position, is_reverse=True)
    assert (offsets(page), missing(page), page.has_more) == ([], [1, 2, 3, 4], False)
    page = log.page(page.position, is_reverse=True)
    assert (offsets(page), missing(page), page.has_more) == ([], [], False)


def test_what_left_the_log_between_two_forward_pages_is_told_once():
    log = Log(history_count=5)
    log.append(6)
    page = log.page(None, limit=2, is_reverse=False)
    log.append(4)
    page = log.page(page.position, is_reverse=False)
    assert (offsets(page), missing(page), page.has_more) == ([6, 7, 8], [4, 5], True)
    page = log.page(page.position, is_reverse=False)
    assert (offsets(page), missing(page), page.has_more) == ([9, 10], [], False)


BETWEEN_PAGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=12)


@given(st.integers(0, 15), st.integers(0, 10), st.integers(1, 4), BETWEEN_PAGES)
def test_forward_pages_give_or_miss_each_publication_once_in_order(count, kept, limit, between):
    log = Log(history_count=kept)
    log.append(count)
    page = log.page(None, limit=limit, is_reverse=False)
    seen = offsets(page)
    first = log.stream.first
    for appended, seconds in between:
        log.append(appended)
        log.now += seconds
        page = log.page(page.position, limit=limit, is_reverse=False)
        seen += missing(page) + offsets(page)
    while page.has_more:
        page = log.page(page.position, limit=limit, is_reverse=False)
        assert page.missing is None
        seen += offsets(page)
    assert seen == list(range(first, log.stream.last + 1))


@given(st.integers(0, 15), st.integers(0, 10), st.integers(1, 4), BETWEEN_PAGES)
def test_reverse_pages_give_or_miss_each_publication_once_in_order(count, kept, limit, between):
    log = Log(history_count=kept)
    log.append(count)
    page = log.page(None, limit=limit, is_reverse=True)
    seen = offsets(page)
    for appended, seconds in between:
        log.append(appended)
        log.now += seconds
        page = log.page(page.position, limit=limit, is_reverse=True)
        assert all(offset < log.stream.first for offset in missing(page))
        seen += offsets(page) + missing(page)[::-1]
    while page.has_more:
        page = log.page(page.position, limit=limit, is_reverse=True)
        assert page.missing is None
        seen += offsets(page)
    assert seen == list(range(count, count - len(seen), -1))
    assert set(range(log.stream.first, count + 1)) <= set(seen)
