"""Report stage: figures, tables and one self-contained HTML page, all read from the run folder."""

from ssinfnet_jax.report.page import write

__all__ = ["write"]
