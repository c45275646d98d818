"""Calls that may block, made in the event loop's threads and never left alone."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def run_to_end(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return what call returns in a thread, or raise what it raises.

    Being cancelled takes effect only once call has ended: what it works with can be closed then
    and is no other's file by accident.
    """
    job = asyncio.get_running_loop().run_in_executor(None, partial(call, *args, **kwargs))
    is_cancelled = False
    while not job.done():
        try:
            await asyncio.wait((job,))
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        job.exception()  # nobody else will ask
        raise asyncio.CancelledError
    return job.result()
