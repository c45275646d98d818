"""What the load tool can do to a server; loadtest/scenario.py says what each module has."""
