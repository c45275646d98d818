"""What handlers remember of a request or a response stays with it, under their own keys."""

import pytest

from gateway.web.response import Response
from gateway.web.state import RequestKey, ResponseKey, Stateful


class State(Stateful):
    def __init__(self):
        self._state = None


def test_a_state_is_a_mapping():
    state = State()
    assert (len(state), list(state), state.get("a", 1)) == (0, [], 1)
    for change in (lambda: state["a"], lambda: state.pop("a"), lambda: state.__delitem__("a")):
        with pytest.raises(KeyError):
            change()
    state["a"] = 1
    assert state.setdefault("a", 2) == 1
    state.update(b=2)
    assert dict(state) == {"a": 1, "b": 2}
    del state["a"]
    assert list(state) == ["b"]


def test_a_state_equals_itself_only_and_is_true():
    first, second = State(), State()
    assert first == first
    assert first != second
    assert len({first, second}) == 2
    assert bool(first)


def test_keys_of_one_name_do_not_meet():
    response, first, second = Response(), ResponseKey("user", str), ResponseKey("user", str)
    response[first] = "me"
    assert response[first] == "me"
    assert second not in response
    assert "user" not in response
    with pytest.raises(KeyError):
        response[second]


def test_a_key_tells_its_name_and_type():
    assert repr(RequestKey("user", str)) == "<RequestKey(user, type=str)>"
    assert repr(ResponseKey("anything")) == "<ResponseKey(anything, type=Any)>"


def test_a_response_that_remembers_nothing_holds_no_dict_for_it():
    assert Response()._state is None  # noqa: SLF001
