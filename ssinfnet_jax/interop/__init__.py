"""Imports PyTorch checkpoints in the published layouts."""
