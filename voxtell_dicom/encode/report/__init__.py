"""Measurement reports (SR TID 1500)."""
