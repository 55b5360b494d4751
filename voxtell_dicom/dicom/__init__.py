"""DICOM knowledge that several parts need, in one place: attributes, SUV, codecs, our own identity."""
