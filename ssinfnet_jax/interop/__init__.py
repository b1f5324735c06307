"""Exchange with other programs: PyTorch checkpoints in the published layouts."""
