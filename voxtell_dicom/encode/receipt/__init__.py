"""Receipts: what became of a request, as pages or as Basic Text SR."""
