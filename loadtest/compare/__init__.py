"""The same work given in turns to this gateway and to its peers, and how they stand to it."""
