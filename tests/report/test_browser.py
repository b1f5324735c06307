"""The pages as a reader uses them, in headless Chromium."""

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ssinfnet_jax.report.kit import figure_style, viewer
from ssinfnet_jax.report.scans import scan_pages

pytestmark = pytest.mark.long

HOSTILE = "<script>document.title='x'</script> \"q\" 'p' </script>"
NUM = 30
WITH_LESION = 12  # the slice with the largest lesion, which is shown first


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Index of two scans; each slice of the first has its own grey level, and slice 12 has a square."""
    out_dir = tmp_path_factory.mktemp("segmented")
    images = np.repeat(5 * np.arange(NUM, dtype=np.uint8)[:, None], 64 * 64, axis=1).reshape(NUM, 64, 64)
    classes, truth = np.zeros_like(images), np.zeros_like(images)
    classes[WITH_LESION, 16:32, 16:32], classes[WITH_LESION, 32:40, 16:32] = 1, 2
    classes[20, :4, :4] = 2
    truth[WITH_LESION, 16:32, 40:56] = 1
    labels = [f"z {HOSTILE} {i}" for i in range(NUM)]
    case = viewer.Case(HOSTILE, images, classes, truth, {HOSTILE: HOSTILE}, labels)
    scan_pages.write_case(out_dir, case)
    scan_pages.write_case(out_dir, viewer.Case("b", images[:1], classes[:1]))
    table = pd.DataFrame({"case": ["b", HOSTILE, "c"], "lesion_ml": [9.5, 120.25, np.nan], "note": ["", "ok", HOSTILE]})
    return scan_pages.write(out_dir, table, title=HOSTILE, facts={"Networks": HOSTILE})


@pytest.fixture
def case(browser, pages):
    """Opens the page of the first scan and waits for its first slice; no error may remain on the console."""
    browser.get(pages.as_uri())
    browser.find_element(By.LINK_TEXT, " ".join(HOSTILE.split())).click()
    _wait_for_slice(browser, WITH_LESION)
    yield browser
    assert browser.get_log("browser") == []


def _wait_for_slice(browser, place):
    """Waits until a slice is drawn and stays."""
    shown = 'return document.querySelector(".viewer").dataset.drawn'
    WebDriverWait(browser, 120, poll_frequency=0.05).until(lambda driver: driver.execute_script(shown) == str(place))


def _pixel(browser, x, y):
    """RGB of the canvas at a position in the slice's 64 x 64 pixels, once drawing has finished."""
    script = """
      const [x, y, done] = arguments, canvas = document.querySelector("canvas");
      setTimeout(() => {
        const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
        const factor = canvas.width / 64;
        pixel.drawImage(canvas, -Math.floor(factor * (x + 0.5)), -Math.floor(factor * (y + 0.5)));
        done([...pixel.getImageData(0, 0, 1, 1).data]);
      }, 150);"""
    return np.array(browser.execute_async_script(script, x, y)[:3])


def _blended(grey, colour, opacity):
    return (1 - opacity) * grey + opacity * np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def _press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def test_keys_move_through_the_slices(case):
    # The screen has the focus once the page is loaded.
    for key, place in [
        (Keys.ARROW_DOWN, 13), (Keys.ARROW_RIGHT, 14), (Keys.ARROW_UP, 13), (Keys.ARROW_LEFT, 12), (Keys.PAGE_DOWN, 22),
        (Keys.PAGE_DOWN, NUM - 1), (Keys.PAGE_UP, NUM - 11), (Keys.HOME, 0), (Keys.ARROW_UP, 0), (Keys.END, NUM - 1),
    ]:  # fmt: skip
        _press(case, key)
        _wait_for_slice(case, place)
        assert case.find_element(By.CSS_SELECTOR, ".place").text == f"{place + 1} / {NUM}"
        np.testing.assert_allclose(_pixel(case, 60, 60), 5 * place, atol=2)


def test_the_slider_alone_can_be_used_by_keyboard(case):
    slider = case.find_element(By.CSS_SELECTOR, ".slider")
    _press(case, Keys.TAB)
    assert case.switch_to.active_element == slider
    _press(case, Keys.ARROW_DOWN)
    _wait_for_slice(case, 13)
    assert slider.get_attribute("aria-valuetext").startswith(f"14 / {NUM}, z <script>")
    assert slider.value_of_css_property("outline-style") != "none"  # its focus is visible


def test_the_wheel_moves_through_the_slices(case):
    screen = case.find_element(By.CSS_SELECTOR, ".screen")
    for delta, place in [(100, 13), (100, 14), (-100, 13)]:
        ActionChains(case).scroll_from_origin(ScrollOrigin.from_element(screen), 0, delta).perform()
        _wait_for_slice(case, place)
    assert case.execute_script("return scrollY") == 0


def test_the_overlay_is_drawn_and_taken_away(case):
    grey = 5 * WITH_LESION
    overlay = case.find_element(By.CSS_SELECTOR, ".overlay")
    for place, colour in [((20, 20), figure_style.GGO), ((20, 36), figure_style.CONSOLIDATION)]:
        np.testing.assert_allclose(_pixel(case, *place), _blended(grey, colour, 0.45), atol=3)
    _press(case, "o")
    assert not overlay.is_selected()
    for place in [(20, 20), (20, 36)]:
        np.testing.assert_allclose(_pixel(case, *place), grey, atol=3)
    overlay.click()
    np.testing.assert_allclose(_pixel(case, 20, 20), _blended(grey, figure_style.GGO, 0.45), atol=3)
    np.testing.assert_allclose(_pixel(case, 60, 60), grey, atol=3)


def test_opacity(case):
    _press(case, *"+" * 11)
    np.testing.assert_allclose(_pixel(case, 20, 20), _blended(0, figure_style.GGO, 1.0), atol=3)
    slider = case.find_element(By.CSS_SELECTOR, ".opacity input")
    slider.send_keys(Keys.HOME)  # a key of the slider, not of the slices
    assert slider.get_attribute("value") == "0"
    np.testing.assert_allclose(_pixel(case, 20, 20), 5 * WITH_LESION, atol=3)


def test_prediction_or_ground_truth(case):
    grey, ggo = 5 * WITH_LESION, _blended(5 * WITH_LESION, figure_style.GGO, 0.45)
    border = _blended(0, figure_style.TRUTH_LINE, 1.0)
    inside, edge = (48, 24), (48, 15.45)  # of the true lesion; just outside of it
    np.testing.assert_allclose(_pixel(case, *inside), grey, atol=3)
    np.testing.assert_allclose(_pixel(case, *edge), border, atol=3)
    _press(case, "t")  # prediction alone
    np.testing.assert_allclose(_pixel(case, *edge), grey, atol=3)
    np.testing.assert_allclose(_pixel(case, 20, 20), ggo, atol=3)
    case.find_element(By.CSS_SELECTOR, "input[value=truth]").click()
    np.testing.assert_allclose(_pixel(case, *inside), ggo, atol=3)
    np.testing.assert_allclose(_pixel(case, 20, 20), grey, atol=3)


def test_names_stay_text(case, pages):
    shown = " ".join(HOSTILE.split())
    assert case.find_element(By.TAG_NAME, "h1").text == shown
    assert [element.text for element in case.find_elements(By.CSS_SELECTOR, "dl *:not(div)")] == [shown, shown]
    assert case.find_element(By.TAG_NAME, "output").text.startswith(f"z {shown} 12 · GGO 6.2 %, consolidation 3.1 %")
    assert case.title == f"{shown} · ssinfnet_jax"
    case.get(pages.as_uri())
    assert case.title == f"{shown} · ssinfnet_jax"
    assert shown in case.find_element(By.TAG_NAME, "table").text


def test_tables_are_sorted_by_click_and_key(browser, pages):
    browser.get(pages.as_uri())
    head = browser.find_element(By.XPATH, "//th[contains(., 'lesion ml')]")

    def read():
        return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "tbody td:nth-child(2)")]

    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert read() == ["9.50", "120", "–"]
    _press(browser, Keys.ENTER)  # the button has the focus
    assert head.get_attribute("aria-sort") == "descending"
    assert read() == ["120", "9.50", "–"]  # a missing value stays last
    assert {cell.value_of_css_property("text-align") for cell in browser.find_elements(By.CSS_SELECTOR, ".num")} == {
        "right"
    }
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [1200, 400])
def test_what_is_written_of_tables_is_seen_without_scrolling(browser, tmp_path, width):
    reason = "/data/a_study/one.nii.gz cannot be read as NIfTI (not a gzip file); export it again. " * 5
    table = pd.DataFrame({"case": ["a"], **{f"lesion_{name}_ml": [1e5] for name in "abcdefghij"}})
    page = scan_pages.write(tmp_path, table, title="t", without=pd.DataFrame({"scan": ["b"], "reason": [reason]}))
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    wide, reasons = browser.find_elements(By.CSS_SELECTOR, ".table")
    assert (wide.get_property("scrollWidth") > wide.size["width"]) == (width == 400)
    browser.execute_script("arguments[0].scrollLeft = 100", wide)
    caption = wide.find_element(By.TAG_NAME, "caption")
    assert (caption.rect["x"], caption.size["width"] <= wide.size["width"]) == (wide.rect["x"], True)
    assert reasons.get_property("scrollWidth") <= reasons.size["width"]
    assert reasons.find_element(By.TAG_NAME, "table").size["width"] > 0.95 * reasons.size["width"]
    assert reasons.find_element(By.CSS_SELECTOR, "td:last-child").value_of_css_property("text-align") == "left"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
