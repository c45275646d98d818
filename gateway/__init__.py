"""The realtime gateway: a low-level HTTP and WebSocket server, and a pub/sub hub on top of it."""
