"""A low-level asyncio HTTP/1.1 and WebSocket server with the names of aiohttp.web."""
