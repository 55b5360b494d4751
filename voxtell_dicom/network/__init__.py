"""The DICOM network: associations that we request, and loops for all of them that do not poll."""
