"""WebSockets by callbacks, and awaitable ones on top of them."""
