"""From lesion masks to phenotypes and on to mediation; knows nothing of how the masks were made."""
