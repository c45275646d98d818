"""Where a request is sent to, and by whom: targets and the names of sockets."""

from yarl import URL


def parse_target(target: str) -> URL:
    """Return a valid target as a relative URL; what is encoded stays so. RFC 9112 section 3.2."""
    if target[0] != "/" and (absolute := parse_absolute(target)) is not None:
        path, query, fragment = absolute.raw_path, absolute.raw_query_string, ""
    else:
        rest, _, fragment = target.partition("#")
        path, _, query = rest.partition("?")
    return URL.build(path=path, query_string=query, fragment=fragment, encoded=True)


def parse_absolute(target: str) -> URL | None:
    """Return a target that names a host, too, as it is; None for others. RFC 9112 3.2.2."""
    return URL(target, encoded=True) if "://" in target and target[0] != "/" else None


def address_of(name: object) -> str:
    """Return the host of a socket's name, or what name a socket of another family has."""
    return str(name[0]) if isinstance(name, tuple) else str(name or "")


def host_of(name: object) -> str:
    """Return the address in a socket's name as a URL has it; `localhost` where there is none.

    RFC 3986 section 3.2.2: an IPv6 address stands in brackets, and has no zone.
    """
    if not isinstance(name, tuple):
        return "localhost"
    address = str(name[0]).partition("%")[0]
    return f"[{address}]" if ":" in address else address
