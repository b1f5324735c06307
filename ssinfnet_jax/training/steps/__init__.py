"""Pure functions of training: states, optimizers, augmentation, and steps (state, batch, key) -> (state, metrics)."""
