"""The tables of codes are complete, unambiguous and within the ranges that clients rely on."""

import re

import pytest

from protocol.codes import (
    RETRYABLE,
    UNSENDABLE_CLOSE_CODES,
    CloseCode,
    Disconnect,
    ErrorCode,
)

# RFC 6455 section 7.4.1, and 1012 to 1014 of the registry in section 11.7.
CLOSE_CODES = {
    1000: "OK",
    1001: "GOING_AWAY",
    1002: "PROTOCOL_ERROR",
    1003: "UNSUPPORTED_DATA",
    1005: "NO_STATUS_RECEIVED",
    1006: "ABNORMAL_CLOSURE",
    1007: "INVALID_TEXT",
    1008: "POLICY_VIOLATION",
    1009: "MESSAGE_TOO_BIG",
    1010: "MANDATORY_EXTENSION",
    1011: "INTERNAL_ERROR",
    1012: "SERVICE_RESTART",
    1013: "TRY_AGAIN_LATER",
    1014: "BAD_GATEWAY",
    1015: "TLS_HANDSHAKE",
}
# What clients have learnt must not change its meaning.
DISCONNECTS = {
    3000: "NO_HEARTBEAT",
    3001: "SLOW",
    3002: "RATE_LIMITED",
    3500: "TOO_MANY_ERRORS",
}

ERROR_NAMES = {
    "already_subscribed",
    "internal",
    "invalid_channel",
    "invalid_cursor",
    "invalid_data",
    "invalid_field",
    "limit_reached",
    "malformed",
    "method_not_allowed",
    "not_found",
    "not_subscribed",
    "offset_conflict",
    "overloaded",
    "rate_limited",
    "shutting_down",
    "too_large",
    "unauthorized",
    "unknown_type",
    "unsupported",
}


def test_every_close_code_of_the_registry_is_there_and_1004_which_is_reserved_is_not():
    assert {int(code): code.name for code in CloseCode} == CLOSE_CODES


def test_no_code_has_two_names():
    for table in (CloseCode, Disconnect, ErrorCode):
        assert len(table.__members__) == len(set(table))
    assert not {int(code) for code in CloseCode} & {int(code) for code in Disconnect}


def test_codes_that_only_describe_a_lost_connection_are_never_sent():
    assert sorted(UNSENDABLE_CLOSE_CODES) == [1005, 1006, 1015]


@pytest.mark.parametrize("code", Disconnect)
def test_the_gateways_own_codes_leave_the_applications_range_alone(code):
    assert 3000 <= code < 4000


def test_the_gateways_own_codes_are_the_ones_that_clients_know():
    assert {int(code): code.name for code in Disconnect} == DISCONNECTS


def test_the_names_of_errors_are_the_ones_that_clients_know():
    assert set(ErrorCode) == ERROR_NAMES


@pytest.mark.parametrize("code", ErrorCode)
def test_the_name_of_an_error_is_a_lower_case_word(code):
    assert re.fullmatch("[a-z]+(_[a-z]+)*", code)


def test_only_errors_that_pass_by_themselves_are_worth_a_retry():
    assert {"internal", "overloaded", "rate_limited", "shutting_down"} == RETRYABLE
