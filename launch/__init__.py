"""Programs: flags, then one library call."""
