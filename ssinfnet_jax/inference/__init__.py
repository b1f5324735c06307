"""Inference: applies trained networks to slices and scans."""
