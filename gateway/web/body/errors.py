"""What reading the body of a request may raise."""


class PayloadAccessError(Exception):
    """The body of a request was read after its response had been sent."""


class RequestPayloadError(Exception):
    """The body of a request is malformed, too late, or not what its coding says.

    A handler that lets it pass answers with status, and the connection closes.
    """

    def __init__(self, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
