"""Files that other rooms read: the columns of a stage's table, the arrays of its examples, for writers and readers."""

COHORT = ("slice_id", "patient_id", "mask", "ggo_px", "consolidation_px", "lesion_fraction")
"""segment_cohort/summary.csv: a row per slice; `mask` is the file of its label map, `lesion_fraction` in [0, 1]."""

COHORT_EXAMPLES = ("image", "pred", "slice_id", "patient_id")
"""segment_cohort/examples.npz: images and label maps uint8[N, H, W], ids str[N]."""

INPAINTING_EXAMPLES = ("image", "keep", "inpainting", "phase")
"""pretrain_*/examples.npz: float[N, H, W] in [0, 1] (`keep`: 1 kept, 0 erased), phase str[N]."""

VOLUME = ("volume_id", "slice_mm", "row_mm", "column_mm")
"""prepare/slices.csv, where slices lie in a volume: its id, and the distances between its slices, rows and columns."""
