"""Natural effects on a binary or ordered outcome, and the regressions that they need."""
