"""Servers of a few lines that scenarios load where no --target is given."""
