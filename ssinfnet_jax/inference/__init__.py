"""Inference: trained networks applied to slices."""
