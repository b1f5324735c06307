"""Evaluation of trained networks on slices that no training saw."""
