"""Pages of data that were checked before anything is trained."""
