"""MedSeg COVID-19 CT segmentation sets, as NIfTI."""
