"""What a peer can do wrong, as exceptions that carry the code their reader needs."""

from protocol.codes import CloseCode, ErrorCode


class ProtocolError(Exception):
    """The peer broke a protocol; message says how, in words for that peer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class HTTPError(ProtocolError):
    """The peer broke HTTP; status is the answer it gets before the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class WebSocketError(ProtocolError):
    """The peer broke WebSocket; close_code goes into the close frame."""

    def __init__(self, close_code: CloseCode, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code


class MessageError(ProtocolError):
    """A command of the client protocol cannot be obeyed; code is the error's name on the wire.

    command_id is the id of the command where one could be read, otherwise None. retry_after_ms is
    how long to wait before the same is worth another try, where that is known.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        command_id: int | None = None,
        *,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.command_id = command_id
        self.retry_after_ms = retry_after_ms


class OffsetConflict(MessageError):
    """A publication expected another end of its channel; epoch and offset are where that is."""

    def __init__(self, epoch: str, offset: int, message: str) -> None:
        super().__init__(ErrorCode.OFFSET_CONFLICT, message)
        self.epoch = epoch
        self.offset = offset


class StateError(RuntimeError):
    """Our own code asked for something that the state of the connection forbids."""
