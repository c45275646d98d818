"""Whoever listens knows who is there: a model of presence alone.

Sessions, some of them of one user, come, go, vanish, stall and ask in any order while turns and
time pass. At rest the idea that each has made itself of its channels, from answers and pushes, is
the truth.
"""

from typing import Any, Literal

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from gateway.config import ChannelsConfig, PresenceConfig
from protocol.messages import Push
from tests.gateway.world import ScriptedTransport, World, encode_lines

CHANNELS = ("a", "b")
REST_S = 1.0


class Idea:
    """What a client thinks of one channel; it knows the names only from a whole walk on."""

    def __init__(self) -> None:
        self.count: int | None = None
        self.names: set[str] = set()
        self.is_complete = False
        self.cursor: str | None = None
        self.is_walking = False

    def learn(self, push: dict[str, Any], name: str) -> None:
        """Take note of a push about the member of that name."""
        self.count = push["count"]
        if push["type"] == "joined":
            self.names.add(name)
        elif push["type"] == "left":
            self.names.discard(name)
        elif "id" not in push:  # others came and went than were named
            self.is_complete = self.is_walking = False
            self.cursor = None

    def learn_page(self, page: dict[str, Any], names: list[str]) -> None:
        """Take note of an answer with members."""
        self.names.update(names)
        self.cursor = page.get("cursor")
        if self.cursor is None:
            self.is_complete, self.is_walking = self.is_walking, False


class Socket(ScriptedTransport):
    """A socket that minds being written what nobody asked for while it takes no more."""

    def write(self, data: bytes) -> None:
        assert not self.session.is_paused, "a queue would grow"
        super().write(data)

    def push(self, push: Push, positions: Any) -> None:
        super().write(self.encode_push(push))


class Client:
    """A session, and its ideas by channel."""

    def __init__(self, world: World, mode: str, user: str | None, capacity_bytes: int) -> None:
        self.mode = mode
        self.socket = Socket(world.hub, encode_lines, capacity_bytes, user)
        self.ideas: dict[str, Idea] = {}

    def name(self, member: dict[str, Any]) -> str:
        """Return what a member is called where it counts once."""
        user = member.get("user") if self.mode == "user" else None
        return f"user {user}" if user else f"session {member['session']}"

    @property
    def own_name(self) -> str:
        session = self.socket.session
        return self.name({"session": session.id, "user": session.user})

    def read(self) -> None:
        for push in self.socket.read():
            self.judge(push)

    def judge(self, push: dict[str, Any]) -> None:
        channel = push["channel"]
        if push["type"] == "subscribed":
            self.ideas[channel] = Idea()
            return
        idea = self.ideas[channel]  # nothing comes before the reply, or after the end
        idea.learn(push, self.name(push) if "session" in push else "")
        if "members" in push:
            idea.learn_page(push, [self.name(each) for each in push["members"]])


clients = st.integers(0, 4)
channels = st.sampled_from(CHANNELS)
capacities = st.sampled_from([0, 150, 600, 1 << 20])


class Listeners(RuleBasedStateMachine):
    """Everything that members of rooms can do, in any order."""

    @initialize(mode=st.sampled_from(["session", "user"]))
    def begin(self, mode: Literal["session", "user"]) -> None:
        self.mode = mode
        limits = PresenceConfig(interval_s=REST_S, max_names=3, max_deliveries=8, turn_writes=2)
        self.world = World(ChannelsConfig(joined_left=True, presence=mode), presence=limits)
        self.clients: list[Client | None] = [None] * 5
        for number, user in enumerate((None, "ann", "ann", "bob")):
            self.connect(number, user, 1 << 20, CHANNELS)

    @rule(
        number=clients,
        user=st.sampled_from([None, "ann", "bob"]),
        capacity=capacities,
        channels=st.sampled_from([CHANNELS, CHANNELS[:1], ()]),
    )
    def connect(
        self, number: int, user: str | None, capacity: int, channels: tuple[str, ...]
    ) -> None:
        """Come in the place of another, who vanishes."""
        self.vanish(number)
        self.clients[number] = Client(self.world, self.mode, user, capacity)
        for channel in channels:
            self.subscribe(number, channel)

    @rule(number=clients)
    def vanish(self, number: int) -> None:
        client, self.clients[number] = self.clients[number], None
        if client is not None:
            self.world.hub.detach(client.socket.session)

    @rule(number=clients, channel=channels)
    def subscribe(self, number: int, channel: str) -> None:
        client = self.clients[number]
        if client is not None and channel not in client.socket.session.subscriptions:
            self.world.subscribe(client.socket, channel)

    @rule(number=clients, channel=channels)
    def unsubscribe(self, number: int, channel: str) -> None:
        client = self.clients[number]
        if client is not None and channel in client.socket.session.subscriptions:
            client.read()
            self.world.hub.unsubscribe(client.socket.session, channel)
            client.read()  # what it was told at once when it took more
            del client.ideas[channel]

    @rule(number=clients, channel=channels, limit=st.integers(0, 3))
    def ask(self, number: int, channel: str, limit: int) -> None:
        """Ask how many are there, or for the next page of a walk."""
        client = self.clients[number]
        if client is None or channel not in client.socket.session.subscriptions:
            return
        client.read()
        idea = client.ideas[channel]
        if limit and idea.cursor is None:
            idea.names, idea.is_complete, idea.is_walking = set(), False, True
        hub = self.world.hub
        cursor = idea.cursor if limit else None
        page = hub.presence.page(channel, hub.channels[channel], limit=limit, cursor=cursor)
        client.socket.session.push(msgspec.structs.replace(page, id=1))

    @rule(number=clients)
    def read(self, number: int) -> None:
        client = self.clients[number]
        if client is not None:
            client.read()

    @rule()
    def turn(self) -> None:
        self.world.turn()

    @rule(seconds=st.sampled_from([REST_S / 2, REST_S]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def rest(self) -> None:
        """Let everything be told and read; then every idea is the truth."""
        for _ in range(4):
            self.world.settle()
            for client in filter(None, self.clients):
                client.read()
            self.world.wait(REST_S * 10)
        for channel in CHANNELS:
            there = [c for c in self.clients if c and channel in c.socket.session.subscriptions]
            names = {client.own_name for client in there}
            for client in there:
                idea = client.ideas[channel]
                assert idea.count in (None, len(names))
                assert not idea.is_complete or idea.names == names

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.rest()
            assert not self.world.timers


TestListeners = Listeners.TestCase
TestListeners.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
