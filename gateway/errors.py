"""What can go wrong in the gateway itself; what a peer does wrong is in protocol.errors."""


class GatewayError(Exception):
    """Anything the gateway raises on its own account."""


class ConfigError(GatewayError):
    """A setting cannot be used.

    path is the setting as `$.section.field` (`$` where the whole source is unusable), source says
    where it was read: a file, an environment variable, a flag. The text names both and never holds
    the value, which may be a secret.
    """

    def __init__(self, message: str, *, path: str = "$", source: str) -> None:
        at = "" if path == "$" else f" - at `{path}`"
        super().__init__(f"{source}: {message}{at}")
        self.path = path
        self.source = source


class BrokerUnavailable(GatewayError):
    """The broker cannot take or give publications now; the same call may succeed later."""
