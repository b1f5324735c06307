"""Evaluates trained networks on slices that they were not trained on."""
