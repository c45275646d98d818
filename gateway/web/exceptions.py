"""Answers that are raised instead of returned: one class for each status a handler may want."""

import warnings
from collections.abc import Iterable
from typing import ClassVar, TypedDict, Unpack

from yarl import URL

from gateway.web.response import Response
from gateway.web.response_head import Headers


class GracefulExit(SystemExit):
    """A signal asked the process to end."""

    code = 1


class Options(TypedDict, total=False):
    """The keyword arguments of every HTTPException; body is deprecated in favour of text."""

    headers: Headers | None
    reason: str | None
    body: object
    text: str | None
    content_type: str | None


class HTTPException(Response, Exception):
    """An answer that can be raised; without a text its body is the status line.

    A subclass has its status_code as a class attribute or as the class argument of that name.
    """

    status_code: ClassVar[int] = -1
    empty_body: ClassVar[bool] = False

    def __init_subclass__(cls, *, status_code: int | None = None, empty_body: bool = False) -> None:
        super().__init_subclass__()
        if status_code is not None:
            cls.status_code = status_code
        if empty_body:
            cls.empty_body = True

    def __init__(
        self,
        *,
        headers: Headers | None = None,
        reason: str | None = None,
        body: object = None,
        text: str | None = None,
        content_type: str | None = None,
    ) -> None:
        if body is not None:
            warnings.warn("body is deprecated, use text", DeprecationWarning, stacklevel=2)
        Response.__init__(
            self,
            status=self.status_code,
            reason=reason,
            headers=headers,
            body=body,
            text=text,
            content_type=content_type,
        )
        Exception.__init__(self, self.reason)
        if self.body is None and not self.empty_body:
            self.text = f"{self.status}: {self.reason}"


class HTTPError(HTTPException):
    """Any answer of 400 and above."""


class HTTPRedirection(HTTPException):
    """Any answer from 300 to 399."""


class HTTPSuccessful(HTTPException):
    """Any answer from 200 to 299."""


class HTTPClientError(HTTPError):
    """Any answer from 400 to 499."""


class HTTPServerError(HTTPError):
    """Any answer from 500 on."""


class HTTPOk(HTTPSuccessful, status_code=200):
    """The request succeeded."""


class HTTPCreated(HTTPSuccessful, status_code=201):
    """A resource was created."""


class HTTPAccepted(HTTPSuccessful, status_code=202):
    """The request will be worked on later."""


class HTTPNonAuthoritativeInformation(HTTPSuccessful, status_code=203):
    """A proxy changed the answer of the origin."""


class HTTPNoContent(HTTPSuccessful, status_code=204, empty_body=True):
    """The request succeeded and there is nothing to say."""


class HTTPResetContent(HTTPSuccessful, status_code=205, empty_body=True):
    """The request succeeded and the form it came from may be cleared."""


class HTTPPartialContent(HTTPSuccessful, status_code=206):
    """The range that was asked for."""


class HTTPMove(HTTPRedirection):
    """An answer that names another place in Location; ValueError for an empty one."""

    def __init__(self, location: str | URL, **options: Unpack[Options]) -> None:
        if not location:
            raise ValueError("A redirection needs a location")
        super().__init__(**options)
        self.headers["Location"] = str(URL(location))
        self.location = location


class HTTPMultipleChoices(HTTPMove, status_code=300):
    """There are several representations."""


class HTTPMovedPermanently(HTTPMove, status_code=301):
    """The resource has a new address; a POST may become a GET."""


class HTTPFound(HTTPMove, status_code=302):
    """The resource is elsewhere for now; a POST may become a GET."""


class HTTPSeeOther(HTTPMove, status_code=303):
    """The outcome can be fetched elsewhere with GET."""


class HTTPNotModified(HTTPRedirection, status_code=304, empty_body=True):
    """What the client has is current; headers should carry the ETag or the Last-Modified."""


class HTTPUseProxy(HTTPMove, status_code=305):
    """Deprecated by RFC 9110."""


class HTTPTemporaryRedirect(HTTPMove, status_code=307):
    """The resource is elsewhere for now; the method stays."""


class HTTPPermanentRedirect(HTTPMove, status_code=308):
    """The resource has a new address; the method stays."""


class HTTPBadRequest(HTTPClientError, status_code=400):
    """The request is malformed."""


class MalformedBodyError(HTTPBadRequest, ValueError):
    """The peer broke the rules of the body's type."""

    def __init__(self, message: str) -> None:
        super().__init__(text=f"400: {message}")


class HTTPUnauthorized(HTTPClientError, status_code=401):
    """Credentials are missing or wrong; headers should carry WWW-Authenticate."""


class HTTPPaymentRequired(HTTPClientError, status_code=402):
    """Reserved by RFC 9110, in use for paid services."""


class HTTPForbidden(HTTPClientError, status_code=403):
    """The client may not do that."""


class HTTPNotFound(HTTPClientError, status_code=404):
    """There is nothing at this address."""


class HTTPMethodNotAllowed(HTTPClientError, status_code=405):
    """The resource does not know the method; Allow names those that it knows."""

    def __init__(
        self, method: str, allowed_methods: Iterable[str], **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        self.method = method.upper()
        self.allowed_methods = set(allowed_methods)
        self.headers["Allow"] = ",".join(sorted(self.allowed_methods))


class HTTPNotAcceptable(HTTPClientError, status_code=406):
    """There is no representation that the client accepts."""


class HTTPProxyAuthenticationRequired(HTTPClientError, status_code=407):
    """The proxy wants credentials."""


class HTTPRequestTimeout(HTTPClientError, status_code=408):
    """The request took too long to arrive."""


class HTTPConflict(HTTPClientError, status_code=409):
    """The state of the resource forbids it."""


class HTTPGone(HTTPClientError, status_code=410):
    """There is nothing at this address any more."""


class HTTPLengthRequired(HTTPClientError, status_code=411):
    """The request must state its Content-Length."""


class HTTPPreconditionFailed(HTTPClientError, status_code=412):
    """A condition in the request's headers does not hold."""


class HTTPRequestEntityTooLarge(HTTPClientError, status_code=413):
    """The body is larger than is accepted; sizes in bytes."""

    def __init__(self, max_size: float, actual_size: float, **options: Unpack[Options]) -> None:
        options.setdefault(
            "text",
            f"Maximum request body size {max_size} exceeded, actual body size {actual_size}",
        )
        super().__init__(**options)


class HTTPRequestURITooLong(HTTPClientError, status_code=414):
    """The request target is longer than is accepted."""


class HTTPUnsupportedMediaType(HTTPClientError, status_code=415):
    """The body is of a type that is not accepted."""


class HTTPRequestRangeNotSatisfiable(HTTPClientError, status_code=416):
    """The range lies outside of the resource."""


class HTTPExpectationFailed(HTTPClientError, status_code=417):
    """The Expect header cannot be met."""


class HTTPMisdirectedRequest(HTTPClientError, status_code=421):
    """This server does not answer for the host that was asked."""


class HTTPUnprocessableEntity(HTTPClientError, status_code=422):
    """The body is well-formed and makes no sense."""


class HTTPFailedDependency(HTTPClientError, status_code=424):
    """Another action that this one needs failed."""


class HTTPUpgradeRequired(HTTPClientError, status_code=426):
    """Another protocol is needed; headers should name it in Upgrade."""


class HTTPPreconditionRequired(HTTPClientError, status_code=428):
    """The request must be conditional."""


class HTTPTooManyRequests(HTTPClientError, status_code=429):
    """The client asks too often; headers may carry Retry-After."""


class HTTPRequestHeaderFieldsTooLarge(HTTPClientError, status_code=431):
    """The headers are larger than is accepted."""


class HTTPUnavailableForLegalReasons(HTTPClientError, status_code=451):
    """A legal demand forbids it; link names who demanded it, None leaves it out."""

    def __init__(self, link: str | URL | None, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self._link = URL(link) if link else None
        if self._link is not None:
            self.headers["Link"] = f'<{self._link}>; rel="blocked-by"'

    @property
    def link(self) -> URL | None:
        """The address of who demanded it."""
        return self._link


class HTTPInternalServerError(HTTPServerError, status_code=500):
    """The server is at fault."""


class HTTPNotImplemented(HTTPServerError, status_code=501):
    """The server does not know how."""


class HTTPBadGateway(HTTPServerError, status_code=502):
    """The server behind this one answered badly."""


class HTTPServiceUnavailable(HTTPServerError, status_code=503):
    """The server cannot do it now; headers may carry Retry-After."""


class HTTPGatewayTimeout(HTTPServerError, status_code=504):
    """The server behind this one did not answer in time."""


class HTTPVersionNotSupported(HTTPServerError, status_code=505):
    """The server does not speak this version of HTTP."""


class HTTPVariantAlsoNegotiates(HTTPServerError, status_code=506):
    """Content negotiation was set up in a circle."""


class HTTPInsufficientStorage(HTTPServerError, status_code=507):
    """There is no room for what should be stored."""


class HTTPNotExtended(HTTPServerError, status_code=510):
    """The request needs an extension."""


class HTTPNetworkAuthenticationRequired(HTTPServerError, status_code=511):
    """The network wants the client to sign in first."""
