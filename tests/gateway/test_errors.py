"""The gateway's own exceptions carry data, and their texts are for people."""

import pytest

from gateway.errors import BrokerUnavailable, ConfigError, GatewayError


def test_a_config_error_names_its_source_and_its_path():
    error = ConfigError("Expected `int`, got `str`", path="$.server.port", source="a.toml")
    assert (error.path, error.source) == ("$.server.port", "a.toml")
    assert str(error) == "a.toml: Expected `int`, got `str` - at `$.server.port`"


def test_a_config_error_about_a_whole_source_names_no_path():
    error = ConfigError("No such file or directory", source="a.toml")
    assert error.path == "$"
    assert str(error) == "a.toml: No such file or directory"


@pytest.mark.parametrize("kind", [ConfigError, BrokerUnavailable])
def test_everything_can_be_caught_as_one(kind):
    assert issubclass(kind, GatewayError)
