"""Everything an operator can set, each bound with its unit, its reason and its policy.

config_sources.py says where settings come from. Over 400 lines, so that all are read together.
"""

import re
from itertools import combinations
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import MessageError
from protocol.messages import Overflow
from protocol.publication import check_channel

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
# A limit below this could not hold one ordinary request head, message or frame.
Bytes = Annotated[int, Meta(ge=256)]
BytesOrZero = Annotated[int, Meta(ge=0)]
# A day; what is meant to last longer is a mistake in the unit, and infinity is not a bound.
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=86_400)]
# RFC 6454 section 6.2: scheme, host and port only, in lower case; a path or a final slash would
# never equal what a browser sends.
_ORIGIN: Final = r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+)\Z"
Origin = Annotated[str, Meta(pattern=_ORIGIN)]
_SECRET: Final = r"^[!-~]*\Z"  # what a header can carry
Secret = Annotated[str, Meta(min_length=1, pattern=_SECRET)]
# What is told instead of a regular expression.
PATTERNS: Final = {
    _ORIGIN: (
        "expected an origin, which is `https://host` or `https://host:port` in lower case and"
        " without a path, or `*` for any"
    ),
    _SECRET: "expected printable ASCII characters without spaces, which a header can carry",
}
# An empty one would mean every interface, which an unset variable of a shell should not.
Host = Annotated[str, Meta(min_length=1)]
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all sections share: read-only, and no name but their own."""


class ServerConfig(Section, frozen=True):
    """The listening socket and the limits of HTTP/1.1."""

    # Only this machine, until the operator decides otherwise.
    host: Host = "127.0.0.1"
    # 0 lets the operating system choose; the address is printed at the start.
    port: Port = 8080
    # Connections waiting for accept, which a reconnect storm fills at once; the kernel caps it
    # (net.core.somaxconn is 4096 on Linux) and has the clients beyond it try again.
    backlog: Count = 1024
    # How long a drain waits for requests and closing handshakes, below the 30 s after which
    # orchestrators kill; then what is left is dropped.
    shutdown_timeout_s: SecondsOrZero = 10.0
    # Open connections of every kind, each a file descriptor; one beyond is closed at accept, and no
    # open one is evicted for it, because the evicted would come back.
    max_connections: Count = 100_000
    # Request line and header fields together, as h11 and IIS; more is answered with 431 (414 for
    # the request line).
    max_head_bytes: Bytes = 16 * 1024
    # A request's body, as aiohttp's client_max_size; more is answered with 413.
    max_body_bytes: Bytes = 1024 * 1024
    # From accept, or a head's first byte, to its last: a handshake takes a round trip, also on a
    # bad network. Later is answered with 408. This and the next three are kept to within a second.
    head_timeout_s: Seconds = 30.0
    # Between two pieces of a body, as nginx; later is answered with 408.
    body_timeout_s: Seconds = 60.0
    # For a client to read any of an answer, as nginx; one that reads nothing is dropped. It is also
    # the bound for the answer to a long-poll.
    write_timeout_s: Seconds = 60.0
    # Answers to GET /poll and to reads of history and presence that their clients have not read,
    # all together, and what polls have collected for theirs: a sixteenth of what logs may hold.
    # Each is in memory twice, as it was made and as it is written, and counts until all but 64 KiB
    # of it have been read, the client has left, or write_timeout_s is over. Beyond it a request is
    # answered with 503 and Retry-After.
    max_unread_bytes: Annotated[int, Meta(ge=4 * 1024 * 1024)] = 64 * 1024 * 1024
    # How long a connection may idle between two requests, as nginx; then it is closed. Longer than
    # a long-poll client takes to come back; clients try again on a new one where they are late.
    keepalive_timeout_s: Seconds = 75.0


class WebSocketConfig(Section, frozen=True):
    """What one WebSocket connection may do and hold."""

    # One command with its data; more closes with 1009 as soon as a frame's header announces it.
    max_message_bytes: Bytes = 64 * 1024
    # Values of Origin that may connect, `*` for any. Empty: the origin whose host is the Host
    # header's. A request without Origin comes from no browser, carries nobody's cookies, and
    # passes. Others are answered with 403.
    allowed_origins: tuple[Origin, ...] = ()
    # How long a peer may take to answer our close frame; then the socket is dropped.
    close_timeout_s: Seconds = 10.0
    # What may wait in this process for one client before it counts as lagging; then it is fed from
    # the log. One full TCP window of a slow link. As much again may wait in the kernel before it
    # goes on its way (TCP_NOTSENT_LOWAT; where there is none, the send buffer's megabytes), and one
    # turn may write a batch beyond it. Replies, pings and `closing` wait behind no more than that.
    high_water_bytes: Bytes = 64 * 1024
    # Whether permessage-deflate is agreed upon with clients that offer it, as every browser does.
    # On, because most of what is sent is one publication to many: 1 KiB of JSON becomes 0.4, in 20
    # us for all subscribers together. To 1,000 of them that takes no more CPU than sending it whole
    # and a third less where 64 come at once; to ten a fifth more, but to one alone nearly twice as
    # much, publishing included, which is the reason to turn it off where most channels have one.
    # Only publications are compressed, each without reference to others, and clients are asked for
    # the same, so that a session needs 0.1 KiB more. What a client compresses may become
    # max_message_bytes. One that could not read a window of 4 KiB is sent everything as it is.
    compression: bool = True
    # What is shorter goes as it is: 256 bytes of JSON lose a third, in 10 us, 512 half. So does
    # what is above 256 KiB, which would hold the event loop, and what does not become shorter.
    compression_min_bytes: BytesOrZero = 512


class SessionConfig(Section, frozen=True):
    """What one client may ask for."""

    # Subscriptions of one WebSocket session, each a few hundred bytes; one more is answered with
    # `limit_reached`.
    max_subscriptions: Count = 1000
    # Malformed commands before the session is ended with 3500: a confused client should stop, not
    # loop.
    max_errors: Count = 100
    # Commands per second, and how many may come at once; 0 is no limit. More than a client of a
    # user sends, or a back end that publishes hundreds per second; as many at once as a returning
    # session needs to subscribe to max_subscriptions channels, twice. A third of what one core can
    # obey at the very least, so that one session cannot have it to itself. Beyond it a command is
    # not obeyed, but answered with `rate_limited` and when to try again.
    commands_per_s: CountOrZero = 1000
    commands_burst: Count = 2000
    # The same for the bytes of the messages that bring them (characters, where they are JSON): a
    # thousand commands of 4 KiB, and at once so much as 128 commands of the largest size.
    bytes_per_s: CountOrZero = 4 * 1024 * 1024
    bytes_burst: Count = 8 * 1024 * 1024
    # How many more commands may be refused for that than are obeyed, before the session is ended
    # with 3002. A client that sends without waiting for replies meets some hundreds before it can
    # hear of the first; who goes on is not listening.
    max_rate_errors: Count = 1000
    # Commands of one session that wait for the broker, each with its data. At so many its socket is
    # not read until half of them are done, so that a slow broker slows its publishers. A `history`
    # counts as so many, because its answer may be a megabyte.
    max_pending: Count = 256


class HeartbeatConfig(Section, frozen=True):
    """How a vanished client is noticed."""

    # Every client hears from the gateway once per interval: below the 60 s idle limit of common
    # proxies, with one ping to spare. A client that has vanished is gone within two intervals (and
    # the 128th of one, the sweep's grain) of what it last did, on every transport:
    # - A WebSocket is pinged, and ended with 3000 when nothing was heard from one ping to the next.
    # - An event stream gets a comment, which cannot be answered; the kernel drops the connection
    #   when the comment is not acknowledged for an interval. Only Linux can (TCP_USER_TIMEOUT);
    #   elsewhere its retransmissions end after some 15 minutes.
    # - A long-poll ends by itself, after longpoll.max_timeout_s at the most.
    # A client that is there but reads nothing for an interval, of what it has been sent, is ended:
    # WebSockets with 3001. Reading some of it is enough.
    interval_s: Seconds = 25.0


class ChannelConfig(Section, frozen=True, kw_only=True):
    """What one channel's log keeps, for whom, and what its subscribers may choose."""

    # History: what a newcomer or a returning client can still get. The strictest of the three
    # applies and the oldest publication goes first; a position that left the log is told so by a
    # `gap`. 0 keeps nothing. Reported to clients with `subscribed`.
    history_count: CountOrZero = 1000
    history_bytes: BytesOrZero = 1024 * 1024
    # Longer than a reconnect after a deploy or a tunnel, shorter than what a client should fetch
    # from a database.
    history_age_s: SecondsOrZero = 300.0
    # Lag: how far behind a connected subscriber may be read on from the log, beyond the history;
    # the log grows to this only while somebody lags. Past any bound the subscription's overflow
    # policy decides what the subscriber is told.
    lag_count: CountOrZero = 10_000
    lag_bytes: BytesOrZero = 4 * 1024 * 1024
    # As old as a publication may get for a subscriber that lags; whoever takes longer is not slow
    # but stuck.
    lag_age_s: SecondsOrZero = 60.0
    # What happens to a lagging subscription whose position has left the log: `gap` tells the range
    # and goes on with the oldest kept, `latest` with the newest of each key only, `disconnect` ends
    # the session with 3001. The default of a channel, and what clients may ask for instead; any
    # other wish is answered with `invalid_field`.
    overflow: Overflow = "gap"
    allowed_overflows: tuple[Overflow, ...] = ("gap", "latest", "disconnect")
    # How long an idempotency key is remembered: longer than a publisher goes on trying again. It is
    # kept where the log is, so without broker.data a restart forgets it. 0 remembers none, and a
    # publication with a key is answered with `unsupported`.
    idempotency_window_s: SecondsOrZero = 300.0
    # Keys remembered of one channel, each 260 bytes of max_log_bytes: 333 publications with a key
    # per second, as browsers send each with one. A publication with one more is answered with
    # `overloaded`, because forgetting one early could publish twice.
    max_idempotency_keys: CountOrZero = 100_000
    # Whether a `message` says when it was published; about 20 bytes each. History always does.
    message_time: bool = False
    # Whether subscribers are told who comes and goes, within [presence]. Off, because most channels
    # are not rooms. About 16 bytes for each subscription.
    joined_left: bool = False
    # Whether two sessions of one user are one member or two. A session without user is always one.
    presence: Literal["session", "user"] = "session"

    def __post_init__(self) -> None:
        """Refuse a default that nobody could ask for."""
        if self.overflow not in self.allowed_overflows:
            raise ValueError("overflow must be one of allowed_overflows")


class PrefixConfig(ChannelConfig, frozen=True, kw_only=True):
    """The same for the channels whose names begin with prefix; in a file the rest is inherited."""

    prefix: Annotated[str, Meta(min_length=1)]

    def __post_init__(self) -> None:
        """Refuse what no channel's name begins with, and what ChannelConfig refuses."""
        super().__post_init__()
        try:
            check_channel(self.prefix)
        except MessageError as error:
            raise ValueError(error.message) from None


class ChannelsConfig(ChannelConfig, frozen=True, kw_only=True):
    """What all channels have in common, and which differ: the first prefix that fits wins."""

    prefixes: tuple[PrefixConfig, ...] = ()
    # Channels with a log or a subscriber; a publication or subscription to one more is answered
    # with `overloaded`, because channels are forgotten: the same may succeed later.
    max_channels: Count = 1_000_000
    # Data, keys and tags in all logs together, whatever each may keep, with 200 bytes for each
    # publication, 150 for each tag and 260 for each idempotency key: what a small server has to
    # spare. Once it is reached publications are answered with `overloaded`, because dropping
    # history early would break what `subscribed` has reported.
    max_log_bytes: Bytes = 1024 * 1024 * 1024
    # How long a channel that nobody uses and that keeps nothing remembers its epoch and its last
    # offset, so that a returning client learns whether it missed something; some hundred bytes
    # each. Then it is forgotten, and would begin again with a new epoch.
    forget_after_s: SecondsOrZero = 300.0

    def __post_init__(self) -> None:
        """Refuse a prefix that an earlier one leaves nothing to."""
        super().__post_init__()
        for each, earlier in combinations(reversed(self.prefixes), 2):
            if each.prefix.startswith(earlier.prefix):
                text = f"prefix {each.prefix!r} can never apply: {earlier.prefix!r} comes before it"
                raise ValueError(f"{text} and fits all that it fits; the first that fits applies")

    def find(self, channel: str) -> ChannelConfig:
        """Return what applies to channel."""
        for each in self.prefixes:
            if channel.startswith(each.prefix):
                return each
        return self


class PublishConfig(Section, frozen=True):
    """How much publishers may hand in over HTTP."""

    # Publications of one request, some milliseconds of work; more is answered with 413.
    max_batch_count: Count = 1000
    # Publications per second of all requests together, and how many may come at once; 0 is no
    # limit, because only the operator knows what subscribers can take. Beyond it a request is
    # answered with 429 and Retry-After, and publishes nothing.
    publications_per_s: CountOrZero = 0
    publications_burst: Count = 1000
    # Bytes of all bodies that are being read or whose publications wait for the broker: a
    # sixteenth of what logs may hold. More is answered with 503 and Retry-After, and publishes
    # nothing.
    max_pending_bytes: Bytes = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse a burst that a whole request would always exceed."""
        if self.publications_per_s and self.publications_burst < self.max_batch_count:
            raise ValueError("publications_burst must not be below max_batch_count")


class BrokerConfig(Section, frozen=True):
    """Where logs are kept."""

    # A folder for epochs, history and idempotency keys, created where it does not exist and used by
    # one node at a time. Without one everything is in memory, and a restart begins a new epoch.
    # With it channels that are not in use are on disk alone: `channels.forget_after_s` is how long
    # they stay in memory, and `channels.max_channels` bounds those in memory, and beside them those
    # on disk that retain nothing; the oldest beyond it are forgotten.
    data: Annotated[str, Meta(min_length=1)] | None = None
    # `always`: what is answered with `published`, or seen by anybody, has been written through to
    # the disk and survives the loss of power. `interval`: it survives the end of the process, also
    # by `kill -9`; the loss of power takes at most the newest of the last fsync_interval_s (and of
    # the time one write-through takes), and then every channel begins a new epoch, because clients
    # may have seen what is gone. Only Linux tells the end of a process from that of the machine;
    # elsewhere an `interval` counts every unclean end as the loss of power.
    fsync: Literal["always", "interval"] = "interval"
    fsync_interval_s: Seconds = 1.0
    # Data, keys and tags that wait for the disk, with some hundred bytes for each publication: a
    # second or two of a slow disk. Beyond it a publication is answered with `overloaded`.
    max_pending_bytes: Bytes = 64 * 1024 * 1024
    # The file in the folder, beside which the write-ahead log needs a few dozen megabytes; what has
    # expired is used again. A publication that does not fit is answered with `overloaded`.
    max_data_bytes: Annotated[int, Meta(ge=1024 * 1024)] = 16 * 1024 * 1024 * 1024


class HubConfig(Section, frozen=True):
    """How many sessions a node has, and how much of an event-loop turn fan-out may take."""

    # Sessions of all transports, each some kilobytes with its connection; a poll is one while it
    # waits. One more is refused, and no other evicted for it, because the evicted would come back:
    # 503 with Retry-After, before the upgrade of a WebSocket; an event stream is opened, told to
    # retry, and closed. Below server.max_connections it leaves room for requests that are none.
    max_sessions: Count = 100_000
    # Writes in one turn, some milliseconds of them; the flush then yields to the loop and goes on
    # in the next, so that pings and new connections are served in between. 128 bytes to encode
    # count as a write, so that compressing what came to many channels in one turn is shared out,
    # too.
    turn_deliveries: Count = 2000
    # What reading on for lagging subscribers may encode in one turn, some milliseconds even where
    # JSON becomes MessagePack or is compressed. What is encoded already is shared, and counts as
    # writes.
    turn_encoded_bytes: Bytes = 256 * 1024
    # What a lagging subscriber is fed from the log at once; as much as the high-water mark lets the
    # socket take.
    catch_up_bytes: Bytes = 64 * 1024


class PresenceConfig(Section, frozen=True):
    """How much is told of who comes and goes, where a channel has joined_left."""

    # How long a channel rests after it has told changes, the first of which it tells at once. Four
    # times a second is as often as a list of names on a screen is worth redrawing.
    interval_s: Seconds = 0.25
    # Changes told by name after a rest; beyond it subscribers are told the count alone, in one
    # unasked `presence`. More names in a quarter of a second nobody reads.
    max_names: CountOrZero = 100
    # Names times subscribers after a rest; beyond it the count alone is told, too: a name is some
    # 100 bytes, so this is 1 MB. A channel with more subscribers than this rests longer, in
    # proportion: 100,000 are told the count every 2.5 s, for which a write to each takes a fifth of
    # a processor.
    max_deliveries: Count = 10_000
    # Writes in one turn of the event loop, of which hub.turn_deliveries are twice as many; the rest
    # follows in the next.
    turn_writes: Count = 1000


class SseConfig(Section, frozen=True):
    """What an EventSource is told."""

    # The `retry:` of every stream: what a browser waits before it reconnects. Browsers default to
    # 3 s or 5 s.
    retry_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 2000
    # As websocket.high_water_bytes.
    high_water_bytes: Bytes = 64 * 1024


class LongpollConfig(Section, frozen=True):
    """How long and how large an answer to /poll may become."""

    # Used where the request names no timeout; as the heartbeat, below the 60 s idle limit of common
    # proxies.
    timeout_s: SecondsOrZero = 25.0
    # A longer wish is shortened to this.
    max_timeout_s: SecondsOrZero = 60.0
    # Messages of one answer; the rest waits in the log for the next poll. One publication always
    # goes out.
    max_response_bytes: Bytes = 1024 * 1024
    # Channels of one request, of /poll and /sse alike, because their cursor comes back in a request
    # head; more is answered with 400.
    max_channels: Count = 100

    def __post_init__(self) -> None:
        """Refuse a default beyond the limit."""
        if self.timeout_s > self.max_timeout_s:
            raise ValueError("timeout_s must not be above max_timeout_s")


class AuthConfig(Section, frozen=True):
    """Who may do what."""

    # Asked of POST /publish, as `Authorization: Bearer KEY`; a request without it is answered with
    # 401. Without a key anybody who reaches the port may publish. Never printed, never logged.
    api_key: Secret | None = None
    # Whether WebSocket clients may publish although there is an api_key, which they cannot give;
    # without a key they may. Otherwise their `publish` is answered with `unauthorized`.
    client_publish: bool = False
    # The header in which a reverse proxy says which user a request to /ws, /sse or /poll comes
    # from. Clients are believed, too: the proxy must remove this header from what they send, and
    # nobody else may reach the port. Given twice, or with a user of more than 255 bytes, a request
    # is answered with 400.
    user_header: str | None = None

    def __post_init__(self) -> None:
        """Refuse a header that no request can have: RFC 9110 section 5.6.2."""
        if self.user_header is not None and not re.fullmatch(_TOKEN, self.user_header):
            raise ValueError(f"user_header {self.user_header[:80]!r} is no name of a header")

    def __repr__(self) -> str:
        """Return a text that tells whether there is a key, not which."""
        api_key = None if self.api_key is None else "<hidden>"
        return (
            f"AuthConfig(api_key={api_key!r}, client_publish={self.client_publish},"
            f" user_header={self.user_header!r})"
        )


class Config(Section, frozen=True):
    """The whole configuration of one gateway process; a component gets its section."""

    server: ServerConfig = ServerConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    session: SessionConfig = SessionConfig()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    channels: ChannelsConfig = ChannelsConfig()
    publish: PublishConfig = PublishConfig()
    broker: BrokerConfig = BrokerConfig()
    hub: HubConfig = HubConfig()
    presence: PresenceConfig = PresenceConfig()
    sse: SseConfig = SseConfig()
    longpoll: LongpollConfig = LongpollConfig()
    auth: AuthConfig = AuthConfig()

    def __post_init__(self) -> None:
        """Refuse bodies that could never be published, and answers that could never be given."""
        if self.publish.max_pending_bytes < self.server.max_body_bytes:
            raise ValueError("publish.max_pending_bytes must not be below server.max_body_bytes")
        answer_bytes = max(self.longpoll.max_response_bytes, self.server.max_body_bytes)
        if self.server.max_unread_bytes < 4 * answer_bytes:
            raise ValueError(
                "server.max_unread_bytes must not be below four times"
                " longpoll.max_response_bytes and server.max_body_bytes"
            )
