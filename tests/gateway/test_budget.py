"""Bytes that several requests hold together."""

import pytest

from gateway.budget import Budget, Share
from protocol.codes import ErrorCode
from protocol.errors import MessageError


def test_shares_hold_no_more_together_than_the_limit_and_what_is_refused_is_not_held():
    budget = Budget("the letters", 10)
    with Share(budget) as one, Share(budget) as other:
        one.grow(4)
        other.grow(6)
        with pytest.raises(MessageError) as caught:
            one.grow(1)
        assert caught.value.code == ErrorCode.OVERLOADED
        assert caught.value.message == "the letters hold as many bytes as they may, 10"
        assert budget.held_bytes == 10
    assert budget.held_bytes == 0


def test_what_would_not_fit_is_refused_without_holding_anything():
    budget = Budget("the letters", 10)
    budget.check(10)
    with pytest.raises(MessageError):
        budget.check(11)
    assert budget.held_bytes == 0


def test_a_share_is_given_back_also_where_its_request_fails():
    budget = Budget("the letters", 10)
    share = Share(budget)
    share.grow(10)
    with pytest.raises(MessageError), share:
        share.grow(1)
    assert budget.held_bytes == 0


def test_a_share_that_is_kept_is_given_back_once_by_whoever_keeps_it():
    budget = Budget("the letters", 10)
    with Share(budget) as share:
        share.grow(10)
        share.is_kept = True
    assert budget.held_bytes == 10
    share.release()
    share.release()
    assert budget.held_bytes == 0
