"""Figures, tables and self-contained HTML pages, all read from the folder of a run, of segmented scans, of a grid."""
