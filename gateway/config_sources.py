"""Where settings come from: a TOML file, then the environment, then flags; the later source wins.

Nothing is guessed: an unknown name or a value out of range is a ConfigError that says which source
and which setting.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, get_args

import msgspec

from gateway.config import PATTERNS, ChannelConfig, Config, PrefixConfig, Section
from gateway.errors import ConfigError

ENVIRONMENT_PREFIX: Final = "GATEWAY_"
_EXPECTED: Final = {repr(pattern): text for pattern, text in PATTERNS.items()}
SECRETS: Final = frozenset({("auth", "api_key")})
# The one field that is a list of tables.
PREFIXES: Final = ("channels", "prefixes")


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
    prefixes: Setting | None = None
    for setting in _read_settings(path, environ or {}, overrides or {}):
        if (setting.section, setting.field) == PREFIXES:
            prefixes = setting
        else:
            chosen.setdefault(setting.section, {})[setting.field] = _convert(setting)
    if prefixes is not None:
        channels = chosen.setdefault("channels", {})
        channels["prefixes"] = _convert(_inherit(prefixes, channels))
    try:
        return msgspec.convert(chosen, Config)
    except msgspec.ValidationError as error:  # each value is valid by now, but not beside another
        message, place = _split(error)
        raise ConfigError(message, path=place, source="configuration") from None


def _inherit(prefixes: Setting, channels: Mapping[str, object]) -> Setting:
    """Return prefixes with what `[channels]` says wherever one of them says nothing."""
    source, section, name, tables, is_textual = prefixes
    path = f"$.{section}.{name}"
    if is_textual:
        message = "prefixes are tables of a file, as `[[channels.prefixes]]`"
        raise ConfigError(message, path=path, source=source)
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        message = "expected a list of tables, as `[[channels.prefixes]]`"
        raise ConfigError(message, path=path, source=source)
    for index, table in enumerate(tables):
        for field in table:
            _find_field(PrefixConfig, f"{section}.{name}[{index}]", field, source)
    known = ChannelConfig.__struct_fields__
    inherited = {field: value for field, value in channels.items() if field in known}
    return prefixes._replace(value=[inherited | table for table in tables])


def format_config(config: Config) -> str:
    """Return config as TOML, with secrets hidden and absent values as comments."""
    lines: list[str] = []
    for section in config.__struct_fields__:
        lines.append(f"[{section}]")
        lines += _format_section(section, getattr(config, section))
        lines.append("")
    for each in config.channels.prefixes:
        lines.append("[[channels.prefixes]]")
        lines += _format_section("channels", each)
        lines.append("")
    return "\n".join(lines)


def _format_section(section: str, values: Section) -> list[str]:
    return [
        _format_line(section, field, getattr(values, field))
        for field in values.__struct_fields__
        if (section, field) != PREFIXES
    ]


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
        _find_section(section, source)  # also of a table in which nothing is set
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
        if message.startswith("Invalid enum value"):
            message += f"; expected one of {', '.join(_choices(section, inside, field))}"
        if is_list_in_text:
            message += "; commas separate several"
        path = f"$.{section}.{name}{inside.removeprefix('$')}"
        raise ConfigError(message, path=path, source=source) from None


def _choices(section: str, inside: str, field: msgspec.structs.FieldInfo) -> list[str]:
    """Return the words that field can be or hold, or the field of a prefix at inside."""
    name = inside.rpartition(".")[2]
    if (section, field.name) == PREFIXES:
        (field,) = (each for each in msgspec.structs.fields(PrefixConfig) if each.name == name)
    return list(_words(field.type))


def _words(type_: object) -> Iterator[str]:
    for argument in get_args(type_):
        if isinstance(argument, str):
            yield argument
        else:
            yield from _words(argument)


def _split(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return what is wrong and where; msgspec gives both only as one text."""
    message, _, path = str(error).partition(" - at ")
    # msgspec shows the pattern as repr does.
    _, is_pattern, quoted = message.partition(" matching regex ")
    if is_pattern:
        message = _EXPECTED[quoted]
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
