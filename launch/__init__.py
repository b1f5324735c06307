"""Programs: flags, then one library call."""

import gc

# Imports and traced networks make millions of objects that stay: looking for garbage among them every 700 took a
# seventh of a program's start-up.
gc.set_threshold(100_000, 50, 50)
