import dataclasses
import itertools

import numpy as np
import pytest
import SimpleITK
from radiomics import featureextractor, glcm, ngtdm
from scipy import ndimage, stats

from ssinfnet_jax.analysis import phenotypes


@pytest.fixture(scope="module")
def slice_():
    """A smooth random image and 2 lesions: image uint8[64, 64], classes uint8[64, 64]."""
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 1)
    image = ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)
    height = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 5)
    classes = np.zeros((64, 64), np.uint8)
    classes[height > np.quantile(height, 0.75)] = 1
    classes[height > np.quantile(height, 0.92)] = 2
    return image, classes


def by_featureextractor(image, region, bin_width, spacing=(1.0, 1.0)):
    """With PyRadiomics itself, from the whole image."""
    extractor = featureextractor.RadiomicsFeatureExtractor(binWidth=bin_width, force2D=True, additionalInfo=False)
    extractor.disableAllFeatures()
    for name in ("firstorder", "glcm", "gldm", "ngtdm"):
        extractor.enableFeatureClassByName(name)
    extractor.enableFeaturesByName(shape2D=["PixelSurface"])
    volumes = [SimpleITK.GetImageFromArray(v[None]) for v in (image.astype(float), region.astype(np.uint8))]
    for volume in volumes:
        volume.SetSpacing((spacing[1], spacing[0], 1.0))
    found = extractor.execute(*volumes)
    return {name.removeprefix("original_"): float(value) for name, value in found.items()}


@pytest.mark.parametrize("bin_width", [2.0, 3.3, 25.0])
def test_equals_featureextractor(slice_, bin_width):
    image, classes = slice_
    settings = dataclasses.replace(phenotypes.EIGHT_BIT, bin_width=bin_width)
    found = phenotypes.extract(image, classes, settings=settings, spacing_mm=(0.8, 0.7))
    for region, values in phenotypes.REGIONS.items():
        expected = by_featureextractor(image, np.isin(classes, values), bin_width, (0.8, 0.7))
        assert len(expected) == 62
        for name, value in expected.items():
            assert found[f"{region}_{name}"] == pytest.approx(value, rel=1e-8, abs=1e-12), name
        assert found[f"{region}_reason"] == ""


def test_names_count_the_classes_of_the_paper():
    names = phenotypes.names(["ggo"])
    count = {c: sum(f"ggo_{c}_" in name for name in names) for c in ("shape2D", "firstorder", "glcm", "gldm", "ngtdm")}
    assert count == {"shape2D": 1, "firstorder": 18, "glcm": 24, "gldm": 14, "ngtdm": 5}
    assert len(set(phenotypes.names())) == 186
    with pytest.raises(ValueError, match=r"Unknown region \['lung'\]; choose from ggo, consolidation, lesion"):
        phenotypes.names(["lung"])


def test_first_order_and_area_by_direct_computation(slice_):
    image, classes = slice_
    found = phenotypes.extract(image, classes, spacing_mm=(0.5, 2.0))
    for region, values in phenotypes.REGIONS.items():
        x = image[np.isin(classes, values)].astype(float)
        _, counts = np.unique(x // 2, return_counts=True)
        p = counts / counts.sum()
        expected = {
            "shape2D_PixelSurface": len(x),
            "firstorder_Mean": x.mean(),
            "firstorder_Variance": x.var(),
            "firstorder_Skewness": stats.skew(x),
            "firstorder_Kurtosis": stats.kurtosis(x, fisher=False),
            "firstorder_Entropy": -np.sum(p * np.log2(p)),
            "firstorder_Energy": np.sum(x**2),
            "firstorder_90Percentile": np.percentile(x, 90),
            "num_bins": x.max() // 2 - x.min() // 2 + 1,
        }
        for name, value in expected.items():
            assert found[f"{region}_{name}"] == pytest.approx(value, rel=1e-10), name


def test_glcm_of_a_tiny_image_by_hand():
    """All neighbour pairs of a 4x4 region counted one by one, per direction, then averaged."""
    image = np.array([[0, 2, 4, 4], [2, 2, 0, 4], [4, 0, 2, 2], [4, 4, 0, 0]], np.uint8)
    level = image // 2 + 1
    contrasts, entropies = [], []
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        glcm = np.zeros((3, 3))
        for row, col in itertools.product(range(4), range(4)):
            other = row + step[0], col + step[1]
            if all(0 <= place < 4 for place in other):
                i, j = level[row, col] - 1, level[other] - 1
                glcm[i, j] += 1
                glcm[j, i] += 1
        glcm /= glcm.sum()
        contrasts.append(sum(glcm[i, j] * (i - j) ** 2 for i in range(3) for j in range(3)))
        entropies.append(-sum(q * np.log2(q) for q in glcm.ravel() if q))
    found = phenotypes.extract(image, np.ones((4, 4), np.uint8))
    assert found["ggo_glcm_Contrast"] == pytest.approx(np.mean(contrasts), rel=1e-12)
    assert found["ggo_glcm_JointEntropy"] == pytest.approx(np.mean(entropies), rel=1e-12)


def test_gldm_and_ngtdm_of_a_tiny_image_by_hand():
    image = np.array([[0, 2, 4], [2, 2, 0], [4, 0, 2]], np.uint8)
    level = image // 2 + 1
    dependence, differences = [], {1: [], 2: [], 3: []}
    for row, col in itertools.product(range(3), range(3)):
        around = [
            level[r, c]
            for r in range(max(row - 1, 0), min(row + 2, 3))
            for c in range(max(col - 1, 0), min(col + 2, 3))
            if (r, c) != (row, col)
        ]
        dependence.append(1 + sum(other == level[row, col] for other in around))
        differences[level[row, col]].append(abs(level[row, col] - np.mean(around)))
    found = phenotypes.extract(image, np.ones((3, 3), np.uint8))
    expected = np.mean(np.square(dependence))
    assert found["ggo_gldm_LargeDependenceEmphasis"] == pytest.approx(expected, rel=1e-12)
    weighted = sum(len(d) / 9 * sum(d) for d in differences.values())
    assert found["ggo_ngtdm_Coarseness"] == pytest.approx(1 / weighted, rel=1e-12)


def regions_of(pixels, image=None):
    classes = np.zeros((12, 12), np.uint8)
    classes[pixels] = 1
    image = np.arange(144, dtype=np.uint8).reshape(12, 12) if image is None else image
    return phenotypes.extract(image, classes)


@pytest.mark.parametrize(
    ("pixels", "area", "reason"),
    [
        (np.s_[:0], 0, "empty"),
        (np.s_[5, 5], 1, "one_pixel"),
        (np.s_[5, 2:6], 4, "too_small"),
        (np.s_[5, :], 12, "line"),
    ],
)
def test_regions_without_texture_have_area_and_reason(pixels, area, reason):
    found = regions_of(pixels)
    assert found["ggo_reason"] == found["lesion_reason"] == reason
    assert found["consolidation_reason"] == "empty"
    assert found["ggo_shape2D_PixelSurface"] == area
    assert all(np.isnan(found[name]) for name in phenotypes.names(["ggo"])[1:])


def test_flat_region_has_no_texture():
    found = regions_of(np.s_[2:8, 2:8], np.full((12, 12), 100, np.uint8))
    assert found["ggo_reason"] == "flat"
    assert found["ggo_num_bins"] == 1
    assert np.isnan(found["ggo_ngtdm_Coarseness"])  # PyRadiomics would say 10^6


def test_pixels_that_do_not_touch_have_no_texture():
    assert regions_of(np.s_[::4, ::4])["ggo_reason"] == "scattered"


def test_a_feature_that_fails_is_named_and_alone_nan(slice_, monkeypatch):
    def fail(self):
        raise ZeroDivisionError

    monkeypatch.setattr(glcm.RadiomicsGLCM, "getIdmFeatureValue", fail)
    found = phenotypes.extract(*slice_)
    assert found["ggo_reason"] == "undefined: glcm_Idm"
    assert [name for name in phenotypes.names(["ggo"]) if np.isnan(found[name])] == ["ggo_glcm_Idm"]


def test_a_class_that_fails_costs_the_region_and_not_the_slice(slice_, monkeypatch):
    def fail(self, coordinates):
        if self.coefficients["Ng"] == num_bins:
            raise MemoryError("no room for the matrix " + 100 * "x")

    image, classes = slice_
    num_bins = phenotypes.extract(image, classes)["consolidation_num_bins"]
    monkeypatch.setattr(ngtdm.RadiomicsNGTDM, "_initCalculation", fail)
    found = phenotypes.extract(image, np.where(classes == 1, 0, classes))
    assert found["consolidation_reason"].startswith("MemoryError: no room for the matrix xx")
    assert len(found["consolidation_reason"]) == 80
    assert np.isnan(found["consolidation_firstorder_Mean"])
    assert found["consolidation_shape2D_PixelSurface"] == np.sum(classes == 2)


def test_8_bit_images_are_binned_without_overflow():
    """PyRadiomics adds 2 bin widths to the maximum in the image's own type: 254 + 4 would wrap to 2."""
    image = np.tile(np.arange(0, 255, 2, dtype=np.uint8), (12, 1))
    found = phenotypes.extract(image, np.ones_like(image))
    assert found["ggo_num_bins"] == 128
    assert found["ggo_firstorder_Entropy"] == pytest.approx(7)


def test_hounsfield_units_have_their_own_preset(slice_):
    image, classes = slice_
    ct_hu = image.astype(np.int16) * 4 - 900
    found = phenotypes.extract(ct_hu, classes, settings=phenotypes.HU)
    x = ct_hu[classes == 1].astype(float)
    assert found["ggo_firstorder_Mean"] == pytest.approx(x.mean())
    assert found["ggo_firstorder_Energy"] == pytest.approx(np.sum((x + 1024) ** 2))
    with pytest.raises(ValueError, match=r"Settings 'eight_bit' need values in \[0, 255\], the image spans \[-900"):
        phenotypes.extract(ct_hu, classes)


def test_says_nothing(slice_, capfd, caplog):
    phenotypes.extract(*slice_)
    regions_of(np.s_[::5, ::5])
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_input_errors(slice_):
    image, classes = slice_
    with pytest.raises(ValueError, match=r"must be \[H, W\] of one shape, got \(64, 64\) and \(64, 63\)"):
        phenotypes.extract(image, classes[:, 1:])
    with pytest.raises(ValueError, match=r"must be 0 \(background\), 1 \(GGO\) or 2 .*found \[3, 255\]"):
        phenotypes.extract(image, np.where(classes == 0, 3, np.where(classes == 1, 255, 0)))
    with pytest.raises(ValueError, match=r"spacing_mm must be two positive lengths"):
        phenotypes.extract(image, classes, spacing_mm=(0.7, 0.0))
    place = int(np.flatnonzero(classes)[0])
    with pytest.raises(
        ValueError, match=f"but 1 pixels have others, 1 of them in lesions, such as nan at row {place // 64}, "
    ):
        phenotypes.extract(np.where(np.arange(64 * 64).reshape(64, 64) == place, np.nan, image), classes)


def test_settings_errors():
    with pytest.raises(ValueError, match="bin_width must be a number > 0, got 0"):
        dataclasses.replace(phenotypes.EIGHT_BIT, bin_width=0)
    with pytest.raises(ValueError, match="min_pixels must be a whole number >= 2, got 1"):
        dataclasses.replace(phenotypes.EIGHT_BIT, min_pixels=1)
    with pytest.raises(ValueError, match="value_range must be"):
        dataclasses.replace(phenotypes.EIGHT_BIT, value_range=(1, 0))


def volumes(images, regions, spacing=(1.0, 1.0)):
    """Image and mask of SimpleITK from [S, H, W]."""
    found = [SimpleITK.GetImageFromArray(images.astype(float)), SimpleITK.GetImageFromArray(regions.astype(np.uint8))]
    for volume in found:
        volume.SetSpacing((spacing[1], spacing[0], 1.0))
    return found


def by_pyradiomics(images, regions, settings, image_types=("Original",), spacing=(1.0, 1.0)):
    """With PyRadiomics itself, in the planes of a volume, by our names."""
    extractor = featureextractor.RadiomicsFeatureExtractor(
        binWidth=settings.bin_width, force2D=True, additionalInfo=False, voxelArrayShift=settings.shift
    )
    extractor.disableAllImageTypes()
    for name in image_types:
        extractor.enableImageTypeByName(name, customArgs=dict(settings.filters.get(name, {})))
    extractor.disableAllFeatures()
    for name in settings.classes:
        extractor.enableFeatureClassByName(name)
    found = extractor.execute(*volumes(images, regions, spacing))
    return {name.removeprefix("original_").replace("-mm-3D", "-mm"): float(value) for name, value in found.items()}


def test_other_classes_and_filters_equal_pyradiomics(slice_):
    image, classes = slice_
    settings = phenotypes.make(
        "eight_bit",
        {
            "bin_width": 5.0,
            "classes": {"shape2D": (), "firstorder": (), "glcm": (), "glrlm": (), "glszm": ()},
            "filters": {"Wavelet": {"wavelet": "haar"}, "SquareRoot": {}, "Gradient": {}, "Logarithm": {}},
        },
    )
    found = phenotypes.extract(image, classes, settings=settings, spacing_mm=(0.8, 0.7))
    types = ("Original", *settings.filters)
    for region, values in phenotypes.REGIONS.items():
        expected = by_pyradiomics(image[None], np.isin(classes, values)[None], settings, types, (0.8, 0.7))
        assert {f"{region}_{name}" for name in expected} == set(phenotypes.names([region], settings))
        for name, value in expected.items():
            assert found[f"{region}_{name}"] == pytest.approx(value, rel=1e-7, abs=1e-9), name
    assert len(expected) == 9 + (18 + 24 + 16 + 16) * 8  # the image, four of the wavelet, three of the others
    assert found["ggo_wavelet-LL_reason"] == ""
    assert found["ggo_wavelet-LL_num_bins"] > found["ggo_num_bins"] > 0


def test_log_is_that_of_a_volume_that_does_not_change_from_slice_to_slice(slice_):
    image, classes = slice_
    settings = phenotypes.make(
        "eight_bit", {"classes": {"firstorder": ()}, "filters": {"LoG": {"sigma": [1.0, 2.5], "bin_width": 0.5}}}
    )
    found = phenotypes.extract(image, classes, settings=settings, spacing_mm=(0.8, 0.7))
    regions = np.zeros((31, 64, 64), bool)
    regions[15] = classes == 1
    of_pyradiomics = dataclasses.replace(
        settings, bin_width=0.5, filters={"LoG": {"sigma": [1.0, 2.5]}}
    )  # one bin width for all
    expected = by_pyradiomics(np.repeat(image[None], 31, 0), regions, of_pyradiomics, ("LoG",), (0.8, 0.7))
    assert len(expected) == 2 * 18
    for name, value in expected.items():
        if name.split("_")[-1] not in (
            "Entropy",
            "Uniformity",
        ):  # these depend on bins, of which rounding may change one
            assert found[f"ggo_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    assert found["ggo_log-sigma-1-0-mm_firstorder_Entropy"] == pytest.approx(
        expected["log-sigma-1-0-mm_firstorder_Entropy"], abs=0.05
    )


def patient(spacing=(0.8, 0.7)):
    """Five slices of one patient: textures differ, so do the regions; the third has no lesion."""
    rng = np.random.default_rng(1)
    images = ndimage.gaussian_filter(rng.normal(size=(5, 48, 56)), (0, 1, 1))
    images = (images - images.min()) / np.ptp(images) * np.array([120, 255, 200, 255, 90])[:, None, None]
    height = ndimage.gaussian_filter(rng.normal(size=(5, 48, 56)), (0, 4, 4))
    classes = (height > np.quantile(height, 0.7)).astype(np.uint8) + (height > np.quantile(height, 0.9))
    classes[2] = 0
    images = images.astype(np.uint8)
    return images, classes, [(image, labels, spacing) for image, labels in zip(images, classes, strict=True)]


@pytest.mark.parametrize("preset", ["eight_bit", "hu"])
def test_merged_slices_equal_pyradiomics_in_the_planes_of_a_volume(preset):
    settings = phenotypes.make(
        preset,
        {
            "classes": {"firstorder": (), "glcm": (), "gldm": (), "ngtdm": (), "glrlm": (), "glszm": ()},
            "filters": {"Square": {}} if preset == "hu" else {},
        },
    )
    images, classes, slices = patient()
    found = phenotypes.extract_merged(slices, settings=settings)
    for region, values in phenotypes.REGIONS.items():
        expected = by_pyradiomics(images, np.isin(classes, values), settings, spacing=(0.8, 0.7))
        assert len(expected) == 18 + 24 + 14 + 5 + 16 + 16
        for name, value in expected.items():
            assert found[f"{region}_{name}"] == pytest.approx(value, rel=1e-7, abs=1e-9), name
    assert not [name for name in found if "shape2D" in name]


def test_merged_slices_may_differ_in_size_and_place():
    _, _, slices = patient()
    moved = [
        (np.pad(image, ((k, 0), (0, 2 * k))), np.pad(classes, ((k, 0), (0, 2 * k))), spacing)
        for k, (image, classes, spacing) in enumerate(slices)
    ]
    assert phenotypes.extract_merged(moved) == phenotypes.extract_merged(slices)


def test_slices_too_small_alone_are_measured_when_merged():
    rng = np.random.default_rng(0)
    slices = []
    for _ in range(3):
        classes = np.zeros((12, 12), np.uint8)
        classes[4:6, 4:8] = 2
        slices.append((rng.integers(0, 255, (12, 12)), classes, (1.0, 1.0)))
    assert phenotypes.extract(*slices[0][:2])["consolidation_reason"] == "too_small"
    found = phenotypes.extract_merged(slices)
    assert found["consolidation_reason"] == ""
    assert found["ggo_reason"] == "empty"
    pixels = np.concatenate([image[classes > 0] for image, classes, _ in slices])
    assert found["lesion_firstorder_Mean"] == pytest.approx(pixels.mean())
    assert found["lesion_firstorder_Energy"] == pytest.approx(np.sum(pixels.astype(float) ** 2))


def test_merged_errors():
    _, _, slices = patient()
    with pytest.raises(
        ValueError, match=r"must have the same pixel size, got \(0.5, 0.5\) to \(0.8, 0.7\) mm; resample"
    ):
        phenotypes.extract_merged([*slices, (*slices[0][:2], (0.5, 0.5))])
    assert phenotypes.extract_merged([])["lesion_reason"] == "empty"


def test_a_region_of_too_many_bins_is_refused(slice_):
    settings = phenotypes.make("eight_bit", {"filters": {"Exponential": {"bin_width": 0.001}}})
    found = phenotypes.extract(*slice_, settings=settings)
    assert found["ggo_exponential_reason"] == "too_many_bins"
    assert found["ggo_exponential_num_bins"] > 4096
    assert np.isnan(found["ggo_exponential_glcm_Contrast"])
    assert found["ggo_reason"] == ""


def test_shape_is_nan_without_a_region_and_the_area_is_zero():
    settings = phenotypes.make("eight_bit", {"classes": {"shape2D": ("Perimeter",), "firstorder": ("Mean",)}})
    empty = phenotypes.extract(np.zeros((9, 9)), np.zeros((9, 9), int), settings=settings)
    assert empty["ggo_shape2D_PixelSurface"] == 0
    assert np.isnan(empty["ggo_shape2D_Perimeter"])
    flat = phenotypes.extract(np.zeros((9, 9)), np.pad(np.ones((5, 5), int), 2), settings=settings)
    assert (flat["ggo_reason"], flat["ggo_shape2D_Perimeter"]) == ("flat", pytest.approx(16 + 4 * 0.5**0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"binwidth": 1}, "Unknown setting binwidth; choose from bin_width, value_range"),
        ({"classes": {"shape": ()}}, "Unknown feature class shape; choose from shape2D, firstorder"),
        ({"classes": {"glcm": ("Contrasts",)}}, "Unknown feature of glcm Contrasts; choose from Autocorrelation"),
        ({"classes": {"shape2D": ()}}, "classes needs one besides shape2D"),
        ({"classes": ["glcm"]}, "do not match the attributes of class Settings"),
        ({"filters": {"LBP3D": {}}}, "Unknown filter LBP3D; choose from LoG, Wavelet"),
        ({"filters": {"LoG": {}}}, "Filter 'LoG' with {} returns 0 images"),
        ({"filters": {"LoG": {"sigma": [1, 0]}}}, "returns 1 images for a slice .* LoG needs sigma"),
        (
            {"filters": {"Wavelet": {"wavlet": "haar"}}},
            "Unknown option of filter Wavelet wavlet; choose from bin_width",
        ),
        ({"filters": {"Square": {"bin_width": 0}}}, "bin_width of filter Square must be a number > 0, got 0"),
        ({"filters": {"Square": {"bin_width": "4"}}}, "bin_width of filter Square must be a number > 0, got '4'"),
        ({"bin_width": float("inf")}, "bin_width must be a number > 0, got inf"),
        ({"min_pixels": 9.5}, "min_pixels must be a whole number >= 2, got 9.5"),
        ({"value_range": [0]}, r"value_range must be \(low, high\) with low < high, got \[0\]"),
        ({"shift": "0"}, "shift must be a number, got '0'"),
        ({"distances": 2}, r"distances must be a list of whole numbers >= 1, got 2; such as \[1\]"),
        ({"distances": []}, r"distances must be a list of whole numbers >= 1, got \[\]"),
        ({"distances": [0]}, r"distances must be a list of whole numbers >= 1, got \[0\]"),
        ({"distances": [1.5]}, r"distances must be a list of whole numbers >= 1, got \[1.5\]"),
        ({"distances": [1, 1]}, r"distances must differ, got \[1, 1\]"),
        ({"gldm_alpha": -1}, "gldm_alpha must be a whole number >= 0, got -1"),
        ({"gldm_alpha": "0"}, "gldm_alpha must be a whole number >= 0, got '0'"),
        ({"gldm_alpha": True}, "gldm_alpha must be a whole number >= 0, got True"),
    ],
)
def test_mistakes_in_classes_and_filters(changes, message):
    with pytest.raises(ValueError, match=message):
        phenotypes.make("eight_bit", changes)
    with pytest.raises(ValueError, match="Unknown preset 7_bit; choose from eight_bit, hu"):
        phenotypes.make("7_bit", {})


@pytest.mark.parametrize("padding", [-2000, -8192, -32768, np.nan, np.inf])
def test_what_stands_around_the_regions_changes_nothing(slice_, padding):
    image, classes = slice_
    ct_hu = image.astype(float) * 4 - 900
    expected = phenotypes.extract(ct_hu, classes, settings=phenotypes.HU)
    padded = np.where(classes == 0, padding, ct_hu)  # up to the border of the lesions, and in their holes
    found = phenotypes.extract(padded, classes, settings=phenotypes.HU)
    np.testing.assert_equal(found, expected)
    if np.isfinite(padding):
        by_pyradiomics = by_featureextractor(padded, classes == 1, 12)
        assert found["ggo_firstorder_Mean"] == pytest.approx(by_pyradiomics["firstorder_Mean"], rel=1e-12)
        assert found["ggo_glcm_Contrast"] == pytest.approx(by_pyradiomics["glcm_Contrast"], rel=1e-8)
    merged = phenotypes.extract_merged([(padded, classes, (1.0, 1.0))], settings=phenotypes.HU)
    assert merged["ggo_glcm_Contrast"] == pytest.approx(expected["ggo_glcm_Contrast"])


def test_filters_see_what_stands_around_the_regions(slice_):
    image, classes = slice_
    ct_hu = np.where(classes == 0, -8192.0, image * 4.0 - 900)
    settings = dataclasses.replace(phenotypes.HU, filters={"Wavelet": {"wavelet": "haar"}})
    message = (
        rf"'hu' need values in \[-4096, 32767\], but {(classes == 0).sum()} pixels have others, 0 of them in lesions, "
        r"such as -8192 at row 0, column \d+: set the surroundings of the body to air \(-1024 HU\), or measure without"
    )
    with pytest.raises(ValueError, match=message):
        phenotypes.extract(ct_hu, classes, settings=settings)
    clean = phenotypes.extract(np.maximum(ct_hu, -1024), classes, settings=settings)
    assert clean["ggo_wavelet-HH_reason"] == ""
    nothing = phenotypes.extract(
        ct_hu, np.zeros_like(classes), settings=settings
    )  # without a lesion nothing is filtered
    assert nothing["ggo_reason"] == "empty"


def test_soft_tissue_in_hu_is_not_taken_for_grey_levels(slice_):
    _, classes = slice_
    ct_hu = np.where(classes == 0, -900, 40)
    with pytest.raises(ValueError, match=r"'eight_bit' need values in \[0, 255\], the image spans \[-900, 40\]"):
        phenotypes.extract(ct_hu, classes)
