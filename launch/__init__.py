"""Programs: flags, then one library call."""

import atexit
import gc

# Imports and traced networks make millions of objects that stay. To look for garbage among them every 700 took a
# seventh of a program's start-up, and to look for it once more at the end a second.
gc.set_threshold(100_000, 50, 50)
atexit.register(gc.freeze)
