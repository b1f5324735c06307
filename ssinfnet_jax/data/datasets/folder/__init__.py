"""Images and masks of a user's folder, as a description beside them says."""
