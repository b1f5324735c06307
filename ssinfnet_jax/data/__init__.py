"""Reads CT images and labels, splits them by patient, prepares datasets, and feeds batches."""
