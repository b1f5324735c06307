"""PyRadiomics' feature classes, faster for thousands of small regions and with the same values.

PyRadiomics bins the image for every class, looks up its feature names by reflection for every region, and
computes parts of the GLCM class with loops over all grey levels. With about 100 bins this takes three quarters of
the time of a slice. The classes here take bins that were computed once per region, and compute those parts as sums
over the diagonals of the GLCM and as a symmetric eigenvalue problem. Tests compare the values with
`radiomics.featureextractor`.
"""

import functools
import logging

import numpy as np
from radiomics import firstorder, glcm, gldm, glrlm, glszm, ngtdm, shape2D

# PyRadiomics logs remarks and tracebacks of failed features; here a failed feature is NaN.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)


class _SharedBins:
    """Takes the discretised region from the setting `bins`, int[1, h, w] with 0 outside; logs nothing."""

    @property
    def logger(self):
        """Set by PyRadiomics for every object."""
        return _SILENT

    @logger.setter
    def logger(self, value):
        pass

    @classmethod
    @functools.cache
    def getFeatureNames(cls):  # noqa: N802  (PyRadiomics' name)
        return super().getFeatureNames()

    def _applyBinning(self, matrix):  # noqa: N802
        bins = self.settings["bins"]
        self.coefficients["grayLevels"] = np.unique(bins[self.maskArray])
        self.coefficients["Ng"] = int(self.coefficients["grayLevels"][-1])
        return bins.copy()


class FirstOrder(_SharedBins, firstorder.RadiomicsFirstOrder):
    """Intensity distribution, 18 features."""


class Gldm(_SharedBins, gldm.RadiomicsGLDM):
    """Grey-level dependence matrix, 14 features."""


class Glrlm(_SharedBins, glrlm.RadiomicsGLRLM):
    """Grey-level run length matrix, averaged over the four directions, 16 features."""


class Glszm(_SharedBins, glszm.RadiomicsGLSZM):
    """Grey-level size zone matrix, 16 features."""


class Shape2D(_SharedBins, shape2D.RadiomicsShape2D):
    """Outline of the region in one slice, 9 features."""


class Ngtdm(_SharedBins, ngtdm.RadiomicsNGTDM):
    """Neighbouring grey-tone difference matrix, 5 features."""


class Glcm(_SharedBins, glcm.RadiomicsGLCM):
    """Grey-level co-occurrence matrix, symmetric and averaged over the four directions, 24 features."""

    def _calculateCoefficients(self):  # noqa: N802
        probs = self.P_glcm[0]  # [levels, levels, directions]
        num_bins = self.coefficients["Ng"]
        levels = self.coefficients["grayLevels"]
        i, j = np.meshgrid(levels.astype(float), levels.astype(float), indexing="ij", sparse=True)
        px = self.P_glcm.sum(2, keepdims=True)
        py = self.P_glcm.sum(1, keepdims=True)
        eps = np.spacing(1)
        self.coefficients.update(
            eps=eps,
            i=i,
            j=j,
            kValuesSum=np.arange(2, 2 * num_bins + 1, dtype=float),
            kValuesDiff=np.arange(num_bins, dtype=float),
            px=px,
            py=py,
            ux=np.sum(i[None, :, :, None] * self.P_glcm, (1, 2), keepdims=True),
            uy=np.sum(j[None, :, :, None] * self.P_glcm, (1, 2), keepdims=True),
            pxAddy=_sums_by(levels[:, None] + levels[None, :] - 2, probs, 2 * num_bins - 1),
            pxSuby=_sums_by(np.abs(levels[:, None] - levels[None, :]), probs, num_bins),
            HXY=-np.sum(self.P_glcm * np.log2(self.P_glcm + eps), (1, 2)),
        )

    def getClusterTendencyFeatureValue(self):  # noqa: N802
        """Second moment of i + j."""
        return self._cluster(2)

    def getClusterShadeFeatureValue(self):  # noqa: N802
        """Third moment of i + j."""
        return self._cluster(3)

    def getClusterProminenceFeatureValue(self):  # noqa: N802
        """Fourth moment of i + j."""
        return self._cluster(4)

    def _cluster(self, power: int):
        """Mean over directions of sum_ij (i + j - mu_x - mu_y)^power p(i, j), summed over k = i + j."""
        center = (self.coefficients["ux"] + self.coefficients["uy"])[0, 0]
        deviation = self.coefficients["kValuesSum"][:, None] - center
        return np.nanmean(np.sum(deviation**power * self.coefficients["pxAddy"][0], axis=0))

    def getMCCFeatureValue(self):  # noqa: N802
        """Maximal correlation coefficient: root of Q's second largest eigenvalue, mean over directions.

        Q = D_x^-1 P D_y^-1 P' is similar to M M' with M = D_x^-1/2 P D_y^-1/2; P is symmetric, hence D_x =
        D_y and M is symmetric too, and the root of the second largest eigenvalue of Q is the second largest
        |eigenvalue| of M. A flat region has one level and gets 1, by PyRadiomics' convention.
        """
        probs = np.moveaxis(self.P_glcm[0], 2, 0)
        if probs.shape[1] < 2:
            return 1
        marginal = probs.sum(2)
        # A level without neighbours in one direction has an empty row there, which adds an eigenvalue 0.
        root = np.sqrt(np.where(marginal > 0, marginal, 1.0))
        eigenvalues = np.linalg.eigvalsh(probs / (root[:, :, None] * root[:, None, :]))
        return np.mean(np.sort(np.abs(eigenvalues), axis=1)[:, -2])


def _sums_by(index: np.ndarray, probs: np.ndarray, length: int) -> np.ndarray:
    """Sums probs[i, j, d] over all (i, j) with index[i, j] = k: [1, length, directions]."""
    sums = np.zeros((1, length, probs.shape[2]))
    for d in range(probs.shape[2]):
        sums[0, :, d] = np.bincount(index.ravel(), probs[..., d].ravel(), length)
    return sums


SHAPE = "shape2D"  # of one slice and of no grey levels
CLASSES = {
    SHAPE: Shape2D,
    "firstorder": FirstOrder,
    "glcm": Glcm,
    "gldm": Gldm,
    "ngtdm": Ngtdm,
    "glrlm": Glrlm,
    "glszm": Glszm,
}


def features(name: str) -> tuple[str, ...]:
    """Names of a class's features, without those that PyRadiomics deprecates."""
    return tuple(feature for feature, deprecated in CLASSES[name].getFeatureNames().items() if not deprecated)
