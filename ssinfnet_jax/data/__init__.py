"""Reading of CT images and labels, patient-wise splits, prepared datasets, and the input pipeline."""
