"""Checks of a result: self-check, gates, confidence."""
