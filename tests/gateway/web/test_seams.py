"""What the modules ask of one another without importing is what the real classes offer."""

import inspect

import pytest

from gateway.web.connection import Connection
from gateway.web.request import BaseRequest
from gateway.web.seams import Answerable, Receiver, Upgradable
from gateway.web.websocket.connection import WebSocketConnection


@pytest.mark.parametrize(
    ("seam", "real"),
    [(Answerable, BaseRequest), (Upgradable, Connection), (Receiver, WebSocketConnection)],
)
def test_a_real_class_has_all_that_is_asked_of_it(seam: type, real: type) -> None:
    asked = {name: member for name, member in vars(seam).items() if not name.startswith("_")}

    assert asked
    for name, member in asked.items():
        offered = inspect.getattr_static(real, name)
        assert isinstance(offered, property) == isinstance(member, property)
        if inspect.isfunction(member):
            parameters = [inspect.signature(method).parameters for method in (member, offered)]
            assert list(parameters[0]) == list(parameters[1])
