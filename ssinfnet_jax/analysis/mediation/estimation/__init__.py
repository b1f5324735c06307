"""What all estimators share: resampling, clusters and weights, elimination, intervals, adjusted p values."""
