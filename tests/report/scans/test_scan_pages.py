import re

import numpy as np
import pandas as pd
import pytest

from ssinfnet_jax.report.kit import viewer
from ssinfnet_jax.report.scans import scan_pages

NAMES = ["scan_1", "a/b", "a b", "../../etc", "<img src=x>", ""]


def _case(name):
    images = np.full((2, 32, 32), 90, np.uint8)
    return viewer.Case(name, images, (images > 100).astype(np.uint8))


@pytest.fixture
def index(tmp_path):
    """Index and pages of scans with awkward names; the last scan has no page."""
    for name in NAMES[:-1]:
        scan_pages.write_case(tmp_path, _case(name))
    table = pd.DataFrame({"case": NAMES, "lesion_ml": np.arange(len(NAMES)) / 3, "reader": "x"})
    return scan_pages.write(
        tmp_path, table, title="T<b>", titles={"lesion_ml": "Lesion (ml)"}, headline=[("6", "Scans", "note")]
    )


def test_every_scan_leads_to_its_page(index):
    links = re.findall(r'<a href="(cases/[^"]*)"', index.read_text())
    assert len(set(links)) == len(NAMES) - 1
    for link in links:
        assert (index.parent / link).resolve().parent == index.parent / "cases"
        page = (index.parent / link).read_text()
        assert 'href="../report.html"' in page
    assert len(list(index.parent.rglob("*.html"))) == len(NAMES)


def test_pages_need_nothing_else_and_escape_names(index):
    for page in index.parent.rglob("*.html"):
        text = page.read_text()
        assert "://" not in text
        assert not re.findall(r'<(?:link|iframe|script [^>]*src)|@import|url\(|src="(?!data:)', text)
        assert "<img src=x>" not in text
        assert "T<b>" not in text
    text = index.read_text()
    assert "&lt;img src=x&gt;" in text
    assert "T&lt;b&gt;" in text
    assert "Lesion (ml)" in text
    assert ">0.333<" in text


def test_scans_without_measurements_are_shown_with_the_reason(tmp_path):
    table, without = pd.DataFrame({"case": ["a"]}), pd.DataFrame({"scan": ["b<i>"], "reason": ["slice 3 is missing"]})
    text = scan_pages.write(tmp_path, table, title="t", without=without).read_text()
    assert "not segmented" in text
    assert "b&lt;i&gt;" in text
    assert '<td data-sort="slice 3 is missing">' in text  # not a number, so it may wrap
    text = scan_pages.write(tmp_path, table, title="t", without=without[:0]).read_text()
    assert "not segmented" not in text
    assert "Lesion (either)" not in text  # the multi network divides every lesion


def test_nothing_half_written_is_left(index):
    assert not list(index.parent.rglob(".partial-*"))


def test_file_names():
    assert scan_pages.file_name("scan_1.nii") == "scan_1.nii"
    assert scan_pages.file_name("a/b") != scan_pages.file_name("a b")
    assert len(scan_pages.file_name("x" * 300)) < 100
    assert scan_pages.file_name("..").startswith("scan-")


def test_measurements_name_every_scan_once(tmp_path):
    with pytest.raises(
        ValueError, match=r"need a column 'case' that has every scan once; found the columns \['scan'\]\."
    ):
        scan_pages.write(tmp_path, pd.DataFrame({"scan": ["a"]}), title="t")
    with pytest.raises(ValueError, match="and a name twice"):
        scan_pages.write(tmp_path, pd.DataFrame({"case": ["a", "a"]}), title="t")
