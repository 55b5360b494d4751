"""The acceptance test on a site's own series: segment, encode, read back, compare voxel by voxel."""

from voxtell_dicom.verify.acceptance import Verified, Via, choose_threshold, verify_series

__all__ = ["Verified", "Via", "choose_threshold", "verify_series"]
