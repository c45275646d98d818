"""Bodies of requests as they are read, and of responses as they are written."""
