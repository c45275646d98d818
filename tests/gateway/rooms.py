"""Channels that tell who comes and goes, and sessions that do."""

from typing import Any

from gateway.config import ChannelsConfig, PresenceConfig
from tests.gateway.world import ScriptedTransport, World, encode_lines

ROOMS = ChannelsConfig(joined_left=True)
ROOMS_OF_USERS = ChannelsConfig(joined_left=True, presence="user")
REST_S = PresenceConfig().interval_s


def come(world: World, user: str | None = None, **options: Any) -> ScriptedTransport:
    """Return a session that has subscribed to channel a."""
    transport = ScriptedTransport(world.hub, encode_lines, user=user, **options)
    world.subscribe(transport, "a")
    return transport


def go(transport: ScriptedTransport) -> None:
    transport.hub.detach(transport.session)


def rest(world: World) -> None:
    """Tell what there is to tell, and let the channels rest until they may tell more."""
    world.settle()
    world.wait(REST_S)


def told(transport: ScriptedTransport) -> list[tuple[str, str | None, int]]:
    """Return what transport has been told: of what, of whose session, and how many there are."""
    pushes = [each for each in transport.read() if each["type"] not in ("subscribed", "message")]
    return [(each["type"], each.get("session"), each["count"]) for each in pushes]
