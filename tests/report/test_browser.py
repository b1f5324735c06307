"""The pages as a reader uses them, in headless Chromium."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from PIL import Image
from scipy import ndimage
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ssinfnet_jax.data import ct
from ssinfnet_jax.data.datasets.ct_phantom import volume
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


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """Page of a scan in two windows (grey levels 40 and 200) with probabilities of 0, 0.35 and 1, counted from 0."""
    shape = (3, 64, 64)
    images, classes, probability = np.full(shape, 40, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    classes[1, 16:32, 16:32] = 1
    probability[1, 16:32, 16:32], probability[1, 40:56, 40:56] = 255, round(0.35 * 255)
    labels = [f"slice {number}" for number in range(3)]
    soft = np.full_like(images, 200)
    case = viewer.Case("a", images, classes, labels=labels, soft=soft, probability=probability, counted_from=0)
    return scan_pages.write_case(tmp_path_factory.mktemp("layered"), case)


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


def test_window_and_probability_by_key_and_click(browser, layered):
    plasma = matplotlib.colormaps["plasma"]
    browser.get(layered.as_uri())
    _wait_for_slice(browser, 1)
    certain, likely, none = (20, 20), (48, 48), (5, 5)

    def shows(grey, **colours):
        for name, place in {"certain": certain, "likely": likely, "none": none}.items():
            colour = colours.get(name)
            wanted = grey if colour is None else _blended(grey, colour, 0.45)
            np.testing.assert_allclose(_pixel(browser, *place), wanted, atol=3, err_msg=name)

    shows(40, certain=figure_style.GGO)
    _press(browser, "w")
    shows(200, certain=figure_style.GGO)
    steps = {"certain": colors.to_hex(plasma(1.0)), "likely": colors.to_hex(plasma(0.3))}
    _press(browser, "p")
    shows(200, **steps)
    _press(browser, "w")
    shows(40, **steps)
    _press(browser, "o")
    shows(40)
    _press(browser, "o", "p")
    shows(40, certain=figure_style.GGO)
    browser.find_element(By.XPATH, "//label[contains(., 'Soft tissue')]").click()
    browser.find_element(By.XPATH, "//label[contains(., 'Probability')]").click()
    shows(200, **steps)
    assert browser.get_log("browser") == []


def test_slices_are_counted_as_they_are_named(browser, layered):
    browser.get(layered.as_uri())
    _wait_for_slice(browser, 1)
    assert browser.find_element(By.CSS_SELECTOR, ".place").text == "1 / 2"
    assert browser.find_element(By.TAG_NAME, "output").text.startswith("slice 1 · GGO")
    _press(browser, Keys.HOME)
    _wait_for_slice(browser, 0)
    assert browser.find_element(By.CSS_SELECTOR, ".place").text == "0 / 2"
    assert browser.find_element(By.TAG_NAME, "output").text.startswith("slice 0 · no lesion")


STEP_THROUGH = """
  const [steps, done] = arguments, viewer = document.querySelector(".viewer"), waits = [];
  const press = key => viewer.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const frame = () => new Promise(requestAnimationFrame);
  (async () => {
    press("Home");
    while (viewer.dataset.drawn !== "0") await frame();
    for (let place = 1; place <= steps; place++) {
      const start = performance.now();
      press("ArrowDown");
      while (viewer.dataset.drawn !== String(place)) await frame();
      waits.push(performance.now() - start);
    }
    waits.sort((a, b) => a - b);
    done({median: waits[steps >> 1], longest: waits.at(-1)});
  })();"""
HOLD_KEY = """
  const [steps, done] = arguments, viewer = document.querySelector(".viewer"), seen = new Set();
  const press = key => viewer.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  const watch = new MutationObserver(() => seen.add(viewer.dataset.drawn));
  watch.observe(viewer, {attributes: true});
  press("Home");
  let place = 0;
  const timer = setInterval(() => {
    press("ArrowDown");
    if (++place < steps) return;
    clearInterval(timer);
    const start = performance.now(), wait = setInterval(() => {
      if (viewer.dataset.drawn !== String(steps)) return;
      clearInterval(wait);
      done({drawn: seen.size, behind: performance.now() - start});
    }, 1);
  }, 4);"""


def _main_thread_s(browser):
    """Processor seconds that the page's main thread has worked, which do not depend on other processes."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def test_400_slices_of_512_x_512_do_not_stall(browser, tmp_path):
    """Pictures of a scan's size, with noise; bounds do not depend on what else the machine does."""
    num, stacks = 400, {name: [] for name in ("images", "classes", "soft", "probability")}
    drawn, truth, _ = volume.render(0, 7, 8, 512)
    noise = np.random.default_rng(0).normal(0, 25, drawn.shape)
    for index in range(drawn.shape[2]):
        hu, lesion = (drawn + noise)[..., index].T, truth[..., index].T
        blurred = ndimage.uniform_filter(np.where(lesion > 0, 255.0, 0.0), 25).astype(np.uint8)
        stacks["images"].append(ct.window_hu(hu, ct.LOW_HU, ct.HIGH_HU))
        stacks["classes"].append(lesion)
        for name, view in (("soft", ct.window_hu(hu, *ct.SOFT_TISSUE_HU)), ("probability", blurred)):
            stacks[name].append(np.asarray(Image.fromarray(view).resize((384, 384))))
    case = viewer.Case("a", **{name: np.stack(views)[np.arange(num) % 8] for name, views in stacks.items()})
    page = scan_pages.write_case(tmp_path, case)
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    browser.get(page.as_uri())
    drawn_first = 'return document.querySelector(".viewer")?.dataset.drawn'
    WebDriverWait(browser, 120, poll_frequency=0.05).until(lambda driver: driver.execute_script(drawn_first))
    browser.set_script_timeout(240)
    before, steps = _main_thread_s(browser), 60
    waits = browser.execute_async_script(STEP_THROUGH, steps)
    found = {"page_mb": page.stat().st_size / 1e6, **waits}
    found["work_ms"] = 1000 * (_main_thread_s(browser) - before) / steps
    _press(browser, "w", "p")
    found |= browser.execute_async_script(HOLD_KEY, num - 1)
    browser.execute_cdp_cmd("Performance.disable", {})
    print(found)
    assert found["page_mb"] < 30, found
    assert found["work_ms"] < 30, found  # of the main thread per slice
    assert found["drawn"] > 10, found  # slices are seen while a key is held
    assert found["behind"] < 2 * found["longest"] + 1000, found  # no slices wait that were passed
    assert browser.get_log("browser") == []
