"""Whether anything is lost silently, found out over real sockets; scenario.py runs it."""
