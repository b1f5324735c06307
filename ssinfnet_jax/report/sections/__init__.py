"""The sections of the report page, each read from files of the run folder."""
