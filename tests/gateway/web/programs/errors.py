"""Every kind of HTTPException, raised and caught."""

from collections.abc import Callable

from gateway import web

SPECIAL: dict[str, Callable[[], web.HTTPException]] = {
    "move": lambda: web.HTTPFound(location="/there"),
    "see": lambda: web.HTTPSeeOther("/there", headers={"X-A": "b"}),
    "forever": lambda: web.HTTPPermanentRedirect("/there", reason="Moved"),
    "method": lambda: web.HTTPMethodNotAllowed("get", ["PUT", "POST"]),
    "large": lambda: web.HTTPRequestEntityTooLarge(max_size=10, actual_size=11),
    "legal": lambda: web.HTTPUnavailableForLegalReasons(link="https://example.org/law"),
    "text": lambda: web.HTTPConflict(text="<p>", content_type="text/html", reason="Clash"),
    "empty": lambda: web.HTTPNoContent(),
    "status": lambda: web.HTTPUnauthorized(headers={"WWW-Authenticate": "Basic"}),
}

PLAIN: list[type[web.HTTPException]] = [
    web.HTTPOk,
    web.HTTPCreated,
    web.HTTPBadRequest,
    web.HTTPForbidden,
    web.HTTPNotFound,
    web.HTTPGone,
    web.HTTPPreconditionFailed,
    web.HTTPTooManyRequests,
    web.HTTPInternalServerError,
    web.HTTPServiceUnavailable,
    web.HTTPGatewayTimeout,
]


def find(name: str) -> web.HTTPException:
    if name in SPECIAL:
        return SPECIAL[name]()
    for kind in PLAIN:
        if kind.status_code == int(name):
            return kind()
    raise web.HTTPNotFound(text=f"no {name}")


async def handler(request: web.BaseRequest) -> web.StreamResponse:
    try:
        error = find(request.path[1:])
    except ValueError as failure:
        raise web.HTTPBadRequest(text=str(failure)) from failure
    try:
        raise error
    except web.HTTPRedirection as redirection:
        redirection.headers["X-Redirected"] = "yes"
        raise
    except web.HTTPClientError as refusal:
        refusal.set_cookie("refused", str(refusal.status))
        if refusal.status == 410:
            return web.json_response(
                {"text": refusal.text, "reason": refusal.reason, "empty": refusal.empty_body}
            )
        raise
    except (web.HTTPServerError, web.HTTPSuccessful):
        raise
    except web.HTTPError:
        return web.Response(status=500)


def make_server() -> web.Server:
    return web.Server(handler, access_log=None)
