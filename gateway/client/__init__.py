"""What the gateway hands to its users: browser client, console page, command-line client."""
