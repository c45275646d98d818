"""How a session reaches its client: the only place where the web server and the hub meet."""
