"""Losses: pure functions of logits and targets, one value per slice out; the training step reduces."""
