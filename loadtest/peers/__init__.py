"""Servers that others wrote, each with the few lines that make it do what our gateway does."""
