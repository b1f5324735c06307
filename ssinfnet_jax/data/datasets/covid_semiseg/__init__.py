"""COVID-SemiSeg: the public folder layout of Inf-Net (Fan et al. 2020)."""
