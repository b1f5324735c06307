"""DICOM series, classic and multi-frame."""
