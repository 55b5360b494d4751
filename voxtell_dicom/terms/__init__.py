"""Prompt words to codes, colours, sides and findings."""
