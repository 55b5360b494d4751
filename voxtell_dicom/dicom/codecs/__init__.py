"""Decoders of compressed pixel data: which one pydicom takes (`choice.py`), and GDCM in processes of its own."""
