"""Load scenarios against a running gateway over real sockets."""
