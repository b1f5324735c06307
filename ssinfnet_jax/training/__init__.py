"""Training: states and steps are pure functions; `networks.parallel` runs them on the devices, `loop` drives them."""
