"""Where a request is sent to, and by whom: targets and the names of sockets."""

from yarl import URL


def parse_target(target: str) -> URL:
    """Return a valid target as a URL; what is encoded stays so. RFC 9112 section 3.2."""
    if target[0] != "/":
        return URL(target, encoded=True) if "//" in target else URL.build(path=target, encoded=True)
    rest, _, fragment = target.partition("#")
    path, _, query = rest.partition("?")
    return URL.build(path=path, query_string=query, fragment=fragment, encoded=True)


def address_of(name: object) -> str:
    """Return the host of a socket's name, or what name a socket of another family has."""
    return str(name[0]) if isinstance(name, tuple) else str(name or "")
