"""Metrics of a segmentation: overlap of two masks, receiver operating characteristic."""
