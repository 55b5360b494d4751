"""One file for each revision. What one imports of this package must never change: it describes the past."""
