"""Writes results in the geometry of their source: NIfTI, DICOM-SEG, pictures."""
