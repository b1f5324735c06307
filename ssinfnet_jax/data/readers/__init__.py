"""Readers of scans: DICOM series, NIfTI volumes, pictures."""
