"""The page in a browser: from a cell of the matrix to the evidence, how wide it is, and how readable."""

import shutil
import tempfile
from pathlib import Path

import pytest

from test_reports import BASE, many_guests, run

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = None

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER and webdriver),
                                reason="needs chromium, chromium-driver and python3-selenium")

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
           --disable-component-update --disable-sync --disable-dev-shm-usage""".split()
SIZES = {1280: 2000, 390: 844}

# Contrast of every text with what is behind it (WCAG 2.1, 1.4.3): [text, ratio] of those below 4.5.
CONTRAST = """
const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m.slice(0, 3); };
const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
                     return .2126 * r + .7152 * g + .0722 * b; };
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c) return c; }
                      return [255, 255, 255]; };
document.querySelectorAll('details').forEach(d => { d.open = true; });
const bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim()) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push([walk.currentNode.data.slice(0, 40), ratio]);
}
return bad;
"""


@pytest.fixture(scope="module")
def browser():
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in [*FLAGS, f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        driver = webdriver.Chrome(service=webdriver.chrome.service.Service(DRIVER), options=options)
        driver.set_page_load_timeout(60)
        yield driver
        driver.quit()


def show(browser, page, width=1280, scheme="light"):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": SIZES[width], "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(f"file://{page}")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = Path(tmp_path_factory.mktemp("pages"))
    for name, fixture in (("two", BASE), ("many", many_guests(directory / "many.fixture", 40)),
                          ("dozens", many_guests(directory / "dozens.fixture", 24))):
        run(fixture, "--html", directory / f"{name}.html")
    run(BASE, "--html", directory / "tenant.html", "--guest", "alpha")
    return directory


@pytest.mark.parametrize("name", ["two", "tenant", "dozens", "many"])
def test_from_the_matrix_to_the_evidence(browser, pages, name):
    show(browser, pages / f"{name}.html")
    cell = browser.find_element(By.CSS_SELECTOR, ".matrix td a")
    pair = cell.get_attribute("href").split("#")[1]
    assert not browser.find_element(By.ID, pair).is_displayed()
    cell.click()
    section = browser.find_element(By.ID, pair)
    assert section.is_displayed()
    number = cell.find_element(By.TAG_NAME, "b").text
    assert int(number) == len(section.find_elements(By.CSS_SELECTOR, ".chip.own"))
    link = section.find_element(By.CSS_SELECTOR, "a[href^='#check-']")
    check = link.get_attribute("href").split("#")[1]
    assert not browser.find_element(By.ID, check).is_displayed()
    link.click()
    body = browser.find_element(By.ID, check)
    assert body.is_displayed()
    assert body.find_element(By.CSS_SELECTOR, ".evidence pre").is_displayed()
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", body)
    assert -5 <= top <= SIZES[1280], "the browser scrolls there"


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("name", ["two", "tenant", "dozens", "many"])
def test_nothing_is_wider_than_the_page(browser, pages, name, width):
    show(browser, pages / f"{name}.html", width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["two", "many"])
def test_every_text_stands_out(browser, pages, name, scheme):
    show(browser, pages / f"{name}.html", scheme=scheme)
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(19, 23, 28)")
    assert browser.execute_script(CONTRAST) == []


def test_the_page_is_whole_without_script(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, pages / "two.html")
        browser.find_element(By.CSS_SELECTOR, ".matrix td a").click()
        assert browser.find_element(By.CSS_SELECTOR, ".pair[open]").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
