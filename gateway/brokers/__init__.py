"""Carriers of publications between nodes."""
