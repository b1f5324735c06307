"""Names of files that are meant as images. Only messages and searches use them: what a file is, its content says."""

VOLUMES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".zip")
PICTURES = (".png", ".jpg", ".jpeg")
