"""Settings come from three sources, and a wrong one is refused by name and place."""

import tomllib

import msgspec
import pytest

from gateway.config import AuthConfig, Config
from gateway.config_sources import format_config, load_config
from gateway.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a TOML file and returns its path."""

    def write(text):
        path = tmp_path / "gateway.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_without_sources_everything_has_its_default():
    assert load_config() == Config()
    assert load_config().server.port == 8080


def test_a_later_source_wins_and_leaves_the_rest_alone(write):
    path = write("[server]\nport = 1\nhost = '::1'\nbacklog = 7\n[sse]\nretry_ms = 5\n")
    environ = {"GATEWAY_SERVER__PORT": "2", "GATEWAY_SERVER__HOST": "0.0.0.0"}
    config = load_config(path, environ, {"server.port": 3})
    server = config.server
    assert (server.port, server.host, server.backlog) == (3, "0.0.0.0", 7)
    assert config.sse.retry_ms == 5


@pytest.mark.parametrize(
    ("name", "value", "section", "field", "expected"),
    [
        ("GATEWAY_HEARTBEAT__INTERVAL_S", "2.5", "heartbeat", "interval_s", 2.5),
        ("GATEWAY_HEARTBEAT__INTERVAL_S", "3", "heartbeat", "interval_s", 3.0),
        ("GATEWAY_AUTH__API_KEY", "null", "auth", "api_key", "null"),
        ("GATEWAY_AUTH__API_KEY", "a,b", "auth", "api_key", "a,b"),
        ("GATEWAY_WEBSOCKET__ALLOWED_ORIGINS", "", "websocket", "allowed_origins", ()),
        ("GATEWAY_WEBSOCKET__ALLOWED_ORIGINS", "*", "websocket", "allowed_origins", ("*",)),
        (
            "GATEWAY_WEBSOCKET__ALLOWED_ORIGINS",
            "https://a.example, http://b.example:8000",
            "websocket",
            "allowed_origins",
            ("https://a.example", "http://b.example:8000"),
        ),
    ],
)
def test_the_environment_holds_texts_that_become_the_fields_types(
    name, value, section, field, expected
):
    config = load_config(None, {name: value})
    assert getattr(getattr(config, section), field) == expected


@pytest.mark.parametrize(
    "name", ["GATEWAY_URL", "GATEWAY_API_KEY", "GATEWAY_PORT_8080_TCP_ADDR", "OTHER__NAME", "PATH"]
)
def test_variables_that_are_no_settings_are_left_alone(name):
    assert load_config(None, {name: "tcp://10.0.0.1:80"}) == Config()


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        (
            "[heartbeat]\ninterval_s = 'x'",
            "$.heartbeat.interval_s",
            "Expected `float`, got `str` - at `$.heartbeat.interval_s`",
        ),
        ("[server]\nport = 65536", "$.server.port", "Expected `int` <= 65535"),
        ("[server]\nport = true", "$.server.port", "Expected `int`, got `bool`"),
        ("[server]\nport = 80.0", "$.server.port", "Expected `int`, got `float`"),
        ("[heartbeat]\ninterval_s = inf", "$.heartbeat.interval_s", "Expected `float` <= 86400.0"),
        ("[heartbeat]\ninterval_s = nan", "$.heartbeat.interval_s", "Expected `float` > 0.0"),
        ("[heartbeat]\ninterval_s = 0", "$.heartbeat.interval_s", "Expected `float` > 0.0"),
        ("[session]\nmax_errors = 0", "$.session.max_errors", "Expected `int` >= 1"),
        ("[channels]\nlag_count = -1", "$.channels.lag_count", "Expected `int` >= 0"),
        ("[auth]\napi_key = ''", "$.auth.api_key", "Expected `str` of length >= 1"),
        ("[auth]\napi_key = 'schlüssel'", "$.auth.api_key", "expected printable ASCII"),
        ("[auth]\napi_key = 'two words'", "$.auth.api_key", "expected printable ASCII"),
        (
            "[websocket]\nallowed_origins = ['https://a.example', 5]",
            "$.websocket.allowed_origins[1]",
            "Expected `str`, got `int`",
        ),
        (
            "[websocket]\nallowed_origins = ['https://a.example/']",
            "$.websocket.allowed_origins[0]",
            "expected an origin, which is `https://host` or `https://host:port` in lower case",
        ),
        (
            "[websocket]\nallowed_origins = ['https://A.example']",
            "$.websocket.allowed_origins[0]",
            "in lower case",
        ),
        ("[server]\nprot = 1", "$.server.prot", "unknown field `prot`; did you mean `port`?"),
        ("[sse]\nx = 1", "$.sse.x", "unknown field `x`; there are retry_ms"),
        ("[servers]\nport = 1", "$.servers", "unknown section `servers`; did you mean `server`?"),
        ("[nonsense]", "$.nonsense", "unknown section `nonsense`"),
        ("port = 1", "$.port", "`port` belongs under `[server]`"),
        ("max_channels = 1", "$.max_channels", "under `[channels]` or `[longpoll]`"),
        ("prt = 1", "$.prt", "unknown section `prt`"),
        ("server = 1", "$.server", "expected a table, as in `[server]`"),
    ],
)
def test_a_wrong_setting_in_a_file_is_named_by_source_and_place(write, text, path, message):
    file = write(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.path == path
    assert caught.value.source == str(file)
    assert message in str(caught.value)


def test_a_wrong_setting_in_the_environment_names_the_variable():
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"GATEWAY_SERVER__PORT": "http"})
    assert str(caught.value) == (
        "environment variable GATEWAY_SERVER__PORT: Expected `int`, got `str` - at `$.server.port`"
    )


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("GATEWAY_SERVER_PORT", "GATEWAY_SERVER__PORT"),
        ("GATEWAY_AUTH_API_KEY", "GATEWAY_AUTH__API_KEY"),
    ],
)
def test_a_variable_that_lacks_an_underscore_is_refused_with_the_right_spelling(name, spelling):
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: "9000"})
    assert caught.value.source == f"environment variable {name}"
    assert spelling in str(caught.value)
    assert "9000" not in str(caught.value)


def test_what_kubernetes_sets_for_a_service_of_such_a_name_is_left_alone():
    assert load_config(None, {"GATEWAY_SERVER_PORT": "tcp://10.0.0.1:80"}) == Config()


@pytest.mark.parametrize("text", ["a.example", "https://a.example https://b.example", '["*"]'])
def test_a_list_in_the_environment_that_is_none_is_answered_with_how_to_spell_it(text):
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"GATEWAY_WEBSOCKET__ALLOWED_ORIGINS": text})
    assert "expected an origin, which is `https://host`" in str(caught.value)
    assert "; commas separate several - at `$.websocket.allowed_origins[0]`" in str(caught.value)


def test_a_misspelt_variable_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean `max_subscriptions`"):
        load_config(None, {"GATEWAY_SESSION__MAX_SUBSCRIPTION": "5"})


def test_a_wrong_flag_names_the_command_line():
    with pytest.raises(ConfigError) as caught:
        load_config(overrides={"server.port": 99999})
    assert caught.value.source == "command line"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[server", "not TOML: "),
        (b"[server]\nhost = '\xff'", "not UTF-8 at byte 17"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(write, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(content))
    assert caught.value.path == "$"


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_config(tmp_path / "missing.toml")


def test_a_pair_of_settings_may_be_spread_over_two_sources(write):
    path = write("[longpoll]\ntimeout_s = 100")
    config = load_config(path, {"GATEWAY_LONGPOLL__MAX_TIMEOUT_S": "120"})
    assert (config.longpoll.timeout_s, config.longpoll.max_timeout_s) == (100.0, 120.0)


def test_a_pair_of_settings_that_contradict_each_other_is_refused(write):
    with pytest.raises(ConfigError, match="must not be above max_timeout_s") as caught:
        load_config(write("[longpoll]\ntimeout_s = 100"))
    assert caught.value.path == "$.longpoll"


@pytest.mark.parametrize("source", ["file", "environment", "flag"])
def test_a_secret_never_appears_in_a_text(write, source):
    name = "hunter2-hunter2"
    config = {
        "file": lambda: load_config(write(f"[auth]\napi_key = '{name}'")),
        "environment": lambda: load_config(None, {"GATEWAY_AUTH__API_KEY": name}),
        "flag": lambda: load_config(overrides={"auth.api_key": name}),
    }[source]()
    assert config.auth.api_key == name
    assert name not in f"{config} {config!r} {config.auth} {config.auth!r} {format_config(config)}"


def test_a_secret_of_the_wrong_type_does_not_appear_in_the_error(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write("[auth]\napi_key = 918273645"))
    assert "918273645" not in str(caught.value)


def test_whether_there_is_a_secret_can_be_seen():
    assert repr(AuthConfig()).startswith("AuthConfig(api_key=None, client_publish=False,")
    hidden = "AuthConfig(api_key='<hidden>', client_publish=True,"
    assert repr(AuthConfig(api_key="x", client_publish=True)).startswith(hidden)


def test_the_printed_configuration_can_be_read_again(write):
    config = load_config(
        None,
        {
            "GATEWAY_SERVER__HOST": 'odd "host" \\ name',
            "GATEWAY_WEBSOCKET__ALLOWED_ORIGINS": "https://a.example,*",
        },
    )
    assert load_config(write(format_config(config))) == config


# --- prefixes -----------------------------------------------------------------------------------

PREFIXES = """
[channels]
history_bytes = 7
lag_count = 3

[[channels.prefixes]]
prefix = "chat:"
history_count = 5
overflow = "latest"

[[channels.prefixes]]
prefix = "c"
history_age_s = 1
"""


def test_a_prefix_has_what_it_says_and_inherits_the_rest_from_every_source(write):
    environ = {
        "GATEWAY_CHANNELS__HISTORY_COUNT": "9",
        "GATEWAY_CHANNELS__ALLOWED_OVERFLOWS": "gap,latest",
    }
    channels = load_config(write(PREFIXES), environ, {"channels.lag_count": 4}).channels
    chat, c = channels.find("chat:x"), channels.find("cat")
    assert (chat.history_count, chat.overflow) == (5, "latest")
    assert (c.history_count, c.overflow, c.history_age_s) == (9, "gap", 1.0)
    for each in (chat, c, channels):
        assert (each.history_bytes, each.lag_count) == (7, 4)
        assert each.allowed_overflows == ("gap", "latest")
    assert channels.find("x") is channels


def test_printed_prefixes_can_be_read_again(write):
    text = "[channels]\nhistory_bytes = 7\n"
    text += "[[channels.prefixes]]\nprefix = 'chat:\"é'\nhistory_count = 5\n"
    text += "[[channels.prefixes]]\nprefix = 'c'\nallowed_overflows = ['gap']\n"
    config = load_config(write(text))
    assert [each.prefix for each in config.channels.prefixes] == ['chat:"é', "c"]
    assert load_config(write(format_config(config))) == config


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("histery_count = 1", "[0].histery_count", "did you mean `history_count`?"),
        ("max_channels = 1", "[0].max_channels", "unknown field `max_channels`"),
        ("history_count = 'x'", "[0].history_count", "Expected `int`, got `str`"),
        ("history_count = -1", "[0].history_count", "Expected `int` >= 0"),
        (
            "overflow = 'drop'",
            "[0].overflow",
            "Invalid enum value 'drop'; expected one of gap, latest, disconnect",
        ),
        ("allowed_overflows = ['latest']", "[0]", "overflow must be one of allowed_overflows"),
        ("[[channels.prefixes]]\nlag_count = 1", "[1]", "missing required field `prefix`"),
        ("[[channels.prefixes]]\nprefix = ''", "[1].prefix", "`str` of length >= 1"),
        ("[[channels.prefixes]]\nprefix = 5", "[1].prefix", "Expected `str`, got `int`"),
        ('[[channels.prefixes]]\nprefix = "b\\n"', "[1]", "invalid channel name"),
    ],
)
def test_a_wrong_prefix_is_named_by_file_and_place(write, text, path, message):
    file = write(f"[[channels.prefixes]]\nprefix = 'a'\n{text}")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.path == f"$.channels.prefixes{path}"
    assert caught.value.source == str(file)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["prefixes = 'a'", "prefixes = ['a']", "prefixes.prefix = 'a'"])
def test_prefixes_that_are_no_tables_are_refused_with_how_to_write_them(write, text):
    with pytest.raises(ConfigError, match=r"expected a list of tables, as `\[\[channels.prefixes"):
        load_config(write(f"[channels]\n{text}"))


def test_prefixes_outside_of_their_section_are_refused_with_where_they_belong(write):
    with pytest.raises(ConfigError, match=r"`prefixes` belongs under `\[channels\]`"):
        load_config(write("[[prefixes]]\nprefix = 'a'"))


def test_prefixes_in_the_environment_are_refused_with_where_they_belong():
    with pytest.raises(ConfigError, match="are tables of a file") as caught:
        load_config(None, {"GATEWAY_CHANNELS__PREFIXES": "chat:"})
    assert caught.value.source == "environment variable GATEWAY_CHANNELS__PREFIXES"
    assert caught.value.path == "$.channels.prefixes"


def test_prefixes_of_which_one_can_never_apply_are_refused(write):
    text = "[[channels.prefixes]]\nprefix = 'a'\n[[channels.prefixes]]\nprefix = 'a:b'\n"
    with pytest.raises(ConfigError, match="'a:b' can never apply: 'a' comes before") as caught:
        load_config(write(text))
    assert caught.value.path == "$.channels"


# --- what it tells of itself --------------------------------------------------------------------


def test_the_printed_configuration_tells_of_a_secret_without_telling_it():
    text = format_config(load_config(overrides={"auth.api_key": "hunter2"}))
    assert "# api_key is set and hidden" in text
    assert tomllib.loads(text)["auth"] == {"client_publish": False}


def test_an_empty_host_does_not_open_the_port_to_everybody():
    with pytest.raises(ConfigError) as refused:
        load_config(None, {"GATEWAY_SERVER__HOST": ""})
    assert refused.value.path == "$.server.host"


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().server.port = 1


def test_no_section_takes_a_name_that_it_does_not_know():
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"server": {"prot": 1}}, Config)


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("[broker]\nfsync = 'never'", "always, interval"),
        ("[channels]\npresence = 'room'", "session, user"),
        ("[channels]\nallowed_overflows = ['gap', 'drop']", "gap, latest, disconnect"),
    ],
)
def test_a_word_that_is_no_choice_is_answered_with_those_that_are(write, text, choices):
    with pytest.raises(ConfigError, match=f"expected one of {choices} - at"):
        load_config(write(text))
