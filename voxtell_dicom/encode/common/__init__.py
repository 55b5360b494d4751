"""Shared parts of all kinds of result objects: identity, output context, source headers, Part 10."""
