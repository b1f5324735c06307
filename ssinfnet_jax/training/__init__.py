"""Training: steps are pure functions of states; `networks.parallel` runs them on the devices, `loop` drives them."""
