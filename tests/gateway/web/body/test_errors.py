"""Errors of bodies carry what the answer to them needs."""

import pickle

from gateway.web.body.errors import RequestPayloadError


def test_a_broken_body_is_a_bad_request_unless_it_is_told_otherwise() -> None:
    assert RequestPayloadError("cut").status == 400
    assert RequestPayloadError("late", 408).status == 408


def test_the_reason_is_text_and_attribute_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RequestPayloadError("cut")))

    assert (str(error), error.message) == ("cut", "cut")
