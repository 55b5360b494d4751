"""Wires the parts by node.yaml: start, drain, stop."""
