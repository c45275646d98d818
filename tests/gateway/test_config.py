"""What applies to a channel, and defaults that contradict themselves."""

import msgspec
import pytest

from gateway.config import (
    ChannelsConfig,
    Config,
    LongpollConfig,
    PrefixConfig,
    PublishConfig,
    ServerConfig,
)


def test_the_first_prefix_that_fits_applies_and_the_common_settings_to_the_rest():
    first, second = PrefixConfig(prefix="chat:"), PrefixConfig(prefix="c")
    config = ChannelsConfig(prefixes=(first, second))
    assert config.find("chat:1") is first
    assert config.find("cat") is second
    assert config.find("news") is config


@pytest.mark.parametrize("names", [("a", "a:"), ("a", "b", "a"), ("news", "x", "newsletter", "y")])
def test_a_prefix_that_can_never_apply_is_refused(names):
    prefixes = tuple(PrefixConfig(prefix=each) for each in names)
    with pytest.raises(ValueError, match=f"can never apply: '{names[0]}' comes before"):
        ChannelsConfig(prefixes=prefixes)


def test_a_longer_prefix_before_a_shorter_one_is_fine():
    longer, shorter = PrefixConfig(prefix="news:a"), PrefixConfig(prefix="news:")
    config = ChannelsConfig(prefixes=(longer, shorter))
    assert (config.find("news:ab"), config.find("news:b")) == (longer, shorter)


@pytest.mark.parametrize("prefix", ["a\n", "\x7f", "x" * 256])
def test_a_prefix_that_no_channel_can_have_is_refused(prefix):
    with pytest.raises(ValueError, match="invalid channel name"):
        PrefixConfig(prefix=prefix)


def test_a_default_overflow_that_nobody_may_ask_for_is_refused():
    with pytest.raises(ValueError, match="one of allowed_overflows"):
        ChannelsConfig(overflow="latest", allowed_overflows=("gap",))
    with pytest.raises(ValueError, match="one of allowed_overflows"):
        PrefixConfig(prefix="a", overflow="latest", allowed_overflows=("gap",))
    with pytest.raises(msgspec.ValidationError, match="one of allowed_overflows"):
        msgspec.convert({"allowed_overflows": ["latest"]}, ChannelsConfig)


def test_a_rate_whose_burst_one_request_could_exceed_is_refused():
    with pytest.raises(ValueError, match="publications_burst must not be below max_batch_count"):
        PublishConfig(publications_per_s=1, publications_burst=9, max_batch_count=10)
    PublishConfig(publications_burst=9, max_batch_count=10)  # without a rate it means nothing


def test_answers_that_could_never_be_given_are_refused():
    server = ServerConfig(max_unread_bytes=8 << 20)
    with pytest.raises(ValueError, match="max_unread_bytes must not be below four times"):
        Config(server=server, longpoll=LongpollConfig(max_response_bytes=(2 << 20) + 1))
    Config(server=server, longpoll=LongpollConfig(max_response_bytes=2 << 20))
    with pytest.raises(msgspec.ValidationError, match="max_unread_bytes"):
        msgspec.convert({"max_unread_bytes": (4 << 20) - 1}, ServerConfig)


def test_bodies_that_could_never_be_published_are_refused():
    publish = PublishConfig(max_pending_bytes=1000)
    with pytest.raises(ValueError, match="must not be below server"):
        Config(publish=publish, server=ServerConfig(max_body_bytes=1001))
    Config(publish=publish, server=ServerConfig(max_body_bytes=1000))
