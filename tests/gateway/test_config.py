"""What applies to a channel, and defaults that contradict themselves."""

import msgspec
import pytest

from gateway.config import ChannelsConfig, PrefixConfig


def test_the_first_prefix_that_fits_applies_and_the_common_settings_to_the_rest():
    first, second = PrefixConfig(prefix="chat:"), PrefixConfig(prefix="c")
    config = ChannelsConfig(prefixes=(first, second))
    assert config.find("chat:1") is first
    assert config.find("cat") is second
    assert config.find("news") is config


def test_a_default_overflow_that_nobody_may_ask_for_is_refused():
    with pytest.raises(ValueError, match="one of allowed_overflows"):
        ChannelsConfig(overflow="latest", allowed_overflows=("gap",))
    with pytest.raises(msgspec.ValidationError, match="one of allowed_overflows"):
        msgspec.convert({"allowed_overflows": ["latest"]}, ChannelsConfig)
