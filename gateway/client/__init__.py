"""What the gateway hands to its users: the browser client, the console page and the command-line client."""
