"""Who sits at the ends of connections under load: publishers, subscribers, callers."""
