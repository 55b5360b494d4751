"""Segmentation objects: binary, label map and fractional."""
