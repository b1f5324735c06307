"""Training: states and steps are pure functions; `parallel` maps them over devices, `loop` drives them."""
