"""Writes a generated chest as scanners do: a whole volume in HU, as a DICOM series or a NIfTI file."""

import datetime
import pathlib
from collections.abc import Callable

import nibabel as nib
import numpy as np
import pydicom
from pydicom import uid

from ssinfnet_jax.data.datasets.ct_phantom import generator, population

_FIELD_OF_VIEW_MM = 360.0
_SLICE_MM = 5.0
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_LOWEST_HU, _HIGHEST_HU = -1024, 3071  # 12 bits


def render(seed: int, number: int, num_slices: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a patient's chest.

    Args:
      seed, number: of the population and the patient, as for `population.sample_patient`.
      num_slices: slices from the diaphragm up to the apex of the lungs.
      size: pixels per side.
    Returns: HU int16[columns, rows, slices], classes uint8 {0, 1, 2} of the same shape, and the affine, voxel -> mm
      (RAS+). Columns run to the patient's left, rows to posterior, slices to superior.
    """
    patient = population.sample_patient(seed, number)
    slices = [generator.render_hu(seed, patient, index, num_slices, size) for index in range(num_slices)][::-1]
    hu = np.stack([np.rint(one.hu).clip(_LOWEST_HU, _HIGHEST_HU).astype(np.int16).T for one in slices], axis=-1)
    classes = np.stack([one.classes.T for one in slices], axis=-1)
    spacing = _FIELD_OF_VIEW_MM / size
    affine = np.diag([-spacing, -spacing, _SLICE_MM, 1.0])
    affine[:3, 3] = [_FIELD_OF_VIEW_MM / 2, _FIELD_OF_VIEW_MM / 2, -100.0]
    return hu, classes, affine


def write_nifti(path: pathlib.Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Writes a volume [columns, rows, slices]."""
    nib.save(nib.Nifti1Image(values, affine), path)


def write_dicom(
    folder: pathlib.Path,
    hu: np.ndarray,
    affine: np.ndarray,
    *,
    patient_id: str,
    change: Callable[[pydicom.Dataset, int], None] | None = None,
) -> None:
    """Writes a CT series, one file per slice.

    Args:
      folder: created if missing.
      hu: int16[columns, rows, slices] in [-1024, 3071].
      affine: voxel -> mm (RAS+).
      patient_id: also the patient's name.
      change: called with each dataset and its slice number before the dataset is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = _TO_LPS @ affine
    spacing = nib.affines.voxel_sizes(affine)
    study, series, frame = (uid.generate_uid() for _ in range(3))
    now = datetime.datetime(2020, 3, 1, 12)
    for k in range(hu.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.PatientID = dataset.PatientName = patient_id
        dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
        dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
        dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = now.strftime("%Y%m%d")
        dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = now.strftime("%H%M%S")
        dataset.Modality, dataset.Manufacturer, dataset.ImageType = "CT", "ct_phantom", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 1, 1, k + 1
        dataset.SeriesDescription, dataset.KVP, dataset.PatientPosition = "generated chest", 120, "HFS"
        dataset.ImageOrientationPatient = [float(x) for x in (*lps[:3, 0] / spacing[0], *lps[:3, 1] / spacing[1])]
        dataset.ImagePositionPatient = [round(float(x), 6) for x in lps[:3] @ [0, 0, k, 1]]
        dataset.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        dataset.SliceThickness = float(spacing[2])
        dataset.Rows, dataset.Columns = hu.shape[1], hu.shape[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, _LOWEST_HU, "HU"
        dataset.PixelData = (hu[:, :, k].T.astype(np.int32) - _LOWEST_HU).astype("<u2").tobytes()
        if change:
            change(dataset, k)
        dataset.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)
