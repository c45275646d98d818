"""What the bodies of requests hold: forms, and parts of multipart bodies."""
