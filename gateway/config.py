"""Everything an operator can set, each bound with its unit, its reason and its policy.

Settings come from a TOML file, then from the environment, then from flags; the later source wins.
Nothing is guessed: an unknown name or a value out of range is a ConfigError that says which source
and which setting.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from gateway.errors import ConfigError

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
Origin = Annotated[str, Meta(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/?#\sA-Z]+)\Z")]
# No other type has a pattern.
ORIGIN_EXPECTED: Final = (
    "expected an origin, which is `https://host` or `https://host:port` in lower case and without a"
    " path, or `*` for any"
)
# An empty one would mean every interface, which an unset variable of a shell should not.
Host = Annotated[str, Meta(min_length=1)]
Secret = Annotated[str, Meta(min_length=1)]


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
    # the log. One full TCP window of a slow link. The kernel's own send buffer, some megabytes on
    # Linux, fills before it and is not counted.
    high_water_bytes: Bytes = 64 * 1024


class SessionConfig(Section, frozen=True):
    """What one client may ask for."""

    # Subscriptions of one WebSocket session, each a few hundred bytes; one more is answered with
    # `limit_reached`.
    max_subscriptions: Count = 1000
    # Malformed commands before the session is ended with 3500: a confused client should stop, not
    # loop.
    max_errors: Count = 100


class HeartbeatConfig(Section, frozen=True):
    """How a vanished client is noticed."""

    # One sweep per interval: a peer that sent nothing for a whole interval is pinged, and one that
    # stays silent for a whole interval after its ping is dropped. Below the 60 s idle limit of
    # common proxies, with one ping to spare. An SSE stream gets a comment line at the same pace;
    # its peer cannot answer, but a dead one fails the write.
    interval_s: Seconds = 25.0


class ChannelsConfig(Section, frozen=True):
    """What each channel's log keeps, and for whom."""

    # History: what a newcomer or a returning client can still get. The strictest of the three
    # applies and the oldest publication goes first; a position that left the log is told so by a
    # `gap`. 0 keeps nothing.
    history_count: CountOrZero = 1000
    history_bytes: BytesOrZero = 1024 * 1024
    # Longer than a reconnect after a deploy or a tunnel, shorter than what a client should fetch
    # from a database.
    history_age_s: SecondsOrZero = 300.0
    # Lag: how far behind a connected subscriber may be read on from the log, beyond the history;
    # the log grows to this only while somebody lags. Past any bound the subscriber is told a `gap`
    # of reason `slow` and goes on from the oldest kept.
    lag_count: CountOrZero = 10_000
    lag_bytes: BytesOrZero = 4 * 1024 * 1024
    # As old as a publication may get for a subscriber that lags; whoever takes longer is not slow
    # but stuck.
    lag_age_s: SecondsOrZero = 60.0
    # Channels with a log or a subscriber; a publication or subscription to one more is answered
    # with `limit_reached`.
    max_channels: Count = 1_000_000


class HubConfig(Section, frozen=True):
    """How much of an event-loop turn fan-out may take."""

    # Writes in one turn, some milliseconds of them; the flush then yields to the loop and goes on
    # in the next, so that pings and new connections are served in between. Encoding comes on top.
    turn_deliveries: Count = 2000
    # What a lagging subscriber is fed from the log at once; as much as the high-water mark lets the
    # socket take.
    catch_up_bytes: Bytes = 64 * 1024


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

    def __repr__(self) -> str:
        """Return a text that tells whether there is a key, not which."""
        api_key = None if self.api_key is None else "<hidden>"
        return f"AuthConfig(api_key={api_key!r}, client_publish={self.client_publish})"


class Config(Section, frozen=True):
    """The whole configuration of one gateway process; a component gets its section."""

    server: ServerConfig = ServerConfig()
    websocket: WebSocketConfig = WebSocketConfig()
    session: SessionConfig = SessionConfig()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    channels: ChannelsConfig = ChannelsConfig()
    hub: HubConfig = HubConfig()
    sse: SseConfig = SseConfig()
    longpoll: LongpollConfig = LongpollConfig()
    auth: AuthConfig = AuthConfig()


ENVIRONMENT_PREFIX: Final = "GATEWAY_"
SECRETS: Final = frozenset({("auth", "api_key")})


class Setting(NamedTuple):
    """One value as its source gives it; textual where the source has only strings."""

    source: str
    section: str
    field: str
    value: object
    is_textual: bool


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """Return the defaults, changed by the TOML file at path, then by environ, then by overrides.

    environ holds `GATEWAY_SECTION__FIELD`; other names are not ours, but one that lacks only the
    second underscore is refused. overrides are keyed by `section.field`. Raises ConfigError, naming
    the source and the setting, for whatever cannot be read, is unknown or out of range.
    """
    chosen: dict[str, dict[str, object]] = {}
    for setting in _read_settings(path, environ or {}, overrides or {}):
        chosen.setdefault(setting.section, {})[setting.field] = _convert(setting)
    try:
        return msgspec.convert(chosen, Config)
    except msgspec.ValidationError as error:  # each value is valid by now, but not beside another
        message, place = _split(error)
        raise ConfigError(message, path=place, source="configuration") from None


def format_config(config: Config) -> str:
    """Return config as TOML, with secrets hidden and absent values as comments."""
    lines: list[str] = []
    for section in config.__struct_fields__:
        lines.append(f"[{section}]")
        values: Section = getattr(config, section)
        lines.extend(
            _format_line(section, field, getattr(values, field))
            for field in values.__struct_fields__
        )
        lines.append("")
    return "\n".join(lines)


def _format_line(section: str, field: str, value: object) -> str:
    if value is None:
        return f"# {field} is not set"
    if (section, field) in SECRETS:
        return f"# {field} is set and hidden"
    # A JSON number, string, boolean or array of strings is also a TOML value.
    return f"{field} = {msgspec.json.encode(value).decode()}"


def _read_settings(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Iterator[Setting]:
    if path is not None:
        yield from _read_file(path)
    yield from _read_environment(environ)
    for name, value in overrides.items():
        section, _, field = name.partition(".")
        yield Setting("command line", section, field, value, is_textual=False)


def _read_file(path: Path) -> Iterator[Setting]:
    source = str(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), source=source) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 at byte {error.start}", source=source) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}", source=source) from None
    for section, table in tables.items():
        if not isinstance(table, dict):
            _refuse_misplaced(section, source)
            _find_section(section, source)
            message = f"expected a table, as in `[{section}]`"
            raise ConfigError(message, path=f"$.{section}", source=source)
        for field, value in table.items():
            yield Setting(source, section, field, value, is_textual=False)


def _read_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    """Yield the settings in environ; a name without `__` is another's, as Kubernetes sets."""
    for name, value in sorted(environ.items()):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        source = f"environment variable {name}"
        section, separator, field = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if separator:
            yield Setting(source, section, field, value, is_textual=True)
        elif not value.startswith(
            "tcp://"
        ):  # as Kubernetes tells of a service named gateway-server
            _refuse_misspelt(section, source)


def _refuse_misspelt(name: str, source: str) -> None:
    """Raise ConfigError where name is a section and a field with one underscore between them."""
    for section, field in _all_names():
        if name == f"{section}_{field}":
            spelling = f"{ENVIRONMENT_PREFIX}{section.upper()}__{field.upper()}"
            message = f"two underscores belong after the section: {spelling}"
            raise ConfigError(message, path=f"$.{section}.{field}", source=source)


def _refuse_misplaced(name: str, source: str) -> None:
    """Raise ConfigError where name is a field, which stands outside of all sections."""
    sections = [f"`[{section}]`" for section, field in _all_names() if field == name]
    if sections:
        message = f"`{name}` belongs under {' or '.join(sections)}"
        raise ConfigError(message, path=f"$.{name}", source=source)


def _all_names() -> Iterator[tuple[str, str]]:
    """Yield the section and the field of every setting."""
    for section in msgspec.structs.fields(Config):
        for field in msgspec.structs.fields(section.type):
            yield section.name, field.name


def _convert(setting: Setting) -> object:
    """Return the value as its field's type; a text is parsed, a list of them split at commas."""
    source, section, name, value, is_textual = setting
    field = _find_field(_find_section(section, source), section, name, source)
    is_list_in_text = is_textual and isinstance(field.default, tuple)
    if is_list_in_text:
        value = [part.strip() for part in str(value).split(",") if part.strip()]
    try:
        return msgspec.convert(value, field.type, strict=not is_textual)
    except msgspec.ValidationError as error:
        message, inside = _split(error)
        if is_list_in_text:
            message += "; commas separate several"
        path = f"$.{section}.{name}{inside.removeprefix('$')}"
        raise ConfigError(message, path=path, source=source) from None


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what is wrong and where; msgspec gives both only as one text."""
    message, _, path = str(error).partition(" - at ")
    if " matching regex " in message:
        message = ORIGIN_EXPECTED
    return message, path.strip("`") or "$"


def _find_section(section: str, source: str) -> type[Section]:
    fields = {field.name: field.type for field in msgspec.structs.fields(Config)}
    if section not in fields:
        raise _unknown("section", section, list(fields), f"$.{section}", source)
    found: type[Section] = fields[section]
    return found


def _find_field(
    struct: type[Section], section: str, name: str, source: str
) -> msgspec.structs.FieldInfo:
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    if name not in fields:
        raise _unknown("field", name, list(fields), f"$.{section}.{name}", source)
    return fields[name]


def _unknown(kind: str, name: str, known: list[str], path: str, source: str) -> ConfigError:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are {', '.join(known)}"
    return ConfigError(f"unknown {kind} `{name}`; {hint}", path=path, source=source)
