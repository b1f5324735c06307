from ssinfnet_jax.inference import segment_scan
from ssinfnet_jax.report.scans import segmented


def test_pages_and_the_printed_table_show_columns_that_are_measured():
    assert {*segmented.TITLES, *segmented._PRINTED} <= set(segment_scan.COLUMNS)
