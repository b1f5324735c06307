"""Results in the geometry of their source: NIfTI, DICOM-SEG, pictures."""
