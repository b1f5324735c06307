"""Scans as they come from a hospital or a collection: DICOM series, NIfTI volumes, pictures."""
