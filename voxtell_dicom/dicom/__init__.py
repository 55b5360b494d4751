"""What every part knows about DICOM, once: attributes, SUV, codecs, our own identity."""
