"""What bytes mean: HTTP/1.1, WebSocket, server-sent events and the client protocol, without I/O."""
