"""Programs: flags, then one library call."""

import atexit
import gc

# Imports and traced networks create millions of permanent objects. Collecting garbage every 700 allocations took a
# seventh of a program's start-up, and collecting once more at exit took a second.
gc.set_threshold(100_000, 50, 50)
atexit.register(gc.freeze)
