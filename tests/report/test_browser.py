"""The site in a browser: every page opens without a console error, tables sort, links lead on, dark mode works."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .sites import make_site

selenium = pytest.importorskip("selenium", reason="the browser test needs selenium")

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
WIDTHS = {"desktop": 1280, "phone": 390}

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("browser") / "site")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(DRIVER, env={**os.environ}))
    yield found
    found.quit()


def resize(driver: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(driver: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda d: d.execute_script(f"return {script}"))


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.slow
def test_every_page_opens_without_errors_and_fits(name: str, site: Path, driver: Any) -> None:
    resize(driver, WIDTHS[name])
    driver.get_log("browser")
    for page in sorted(site.rglob("*.html")):
        driver.get(page.as_uri())
        driver.execute_script("document.querySelectorAll('.plot').forEach((plot) => plot.scrollIntoView())")
        wait(driver, "[...document.querySelectorAll('.plot')].every((p) => !p.drawn || p.querySelector('.main-svg'))")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= WIDTHS[name], page.name
        assert driver.title.endswith("BiBench")  # a name of a record would have changed it
        errors = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        assert not errors, f"{page}: {errors}"


def test_a_table_sorts_by_keyboard_and_says_so(site: Path, driver: Any) -> None:
    resize(driver, WIDTHS["desktop"])
    driver.get((site / "tracks" / "learning_task.html").as_uri())
    header = driver.find_element("css selector", "#t-scores-learning_task-paper th:nth-child(2), table.sortable th.n")
    values = (
        "[...arguments[0].closest('table').tBodies[0].rows]"
        ".map((row) => row.cells[arguments[0].cellIndex].dataset.v).filter(Boolean).map(Number)"
    )
    from selenium.webdriver.common.keys import Keys

    button = header.find_element("css selector", "button")
    button.send_keys(Keys.ENTER)
    down = driver.execute_script(f"return {values}", header)
    assert header.get_attribute("aria-sort") == "descending"
    assert len(down) > 3
    assert down == sorted(down, reverse=True)
    button.send_keys(Keys.ENTER)
    assert header.get_attribute("aria-sort") == "ascending"
    assert driver.execute_script(f"return {values}", header) == down[::-1]


def test_a_number_leads_to_its_cell(site: Path, driver: Any) -> None:
    resize(driver, WIDTHS["desktop"])
    driver.get((site / "tracks" / "learning_task.html").as_uri())
    link = driver.find_element("css selector", "#t-accuracy-task00 td.n a")
    driver.execute_script("arguments[0].click()", link)
    wait(driver, "location.pathname.includes('/cells/') && document.readyState === 'complete'")
    group = driver.find_element("css selector", "section:target")
    assert "Full precision" in group.text
    assert group.find_elements("css selector", "details[open] table")


def test_dark_mode_toggles_stays_and_reaches_plots(site: Path, driver: Any) -> None:
    resize(driver, WIDTHS["desktop"])
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    driver.get((site / "index.html").as_uri())
    driver.execute_script("document.querySelector('.plot').scrollIntoView()")
    wait(driver, "document.querySelector('.plot .main-svg')")
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('.plot').layout.font.color"
    light = driver.execute_script(f"return [{ground}, {ink}]")
    driver.execute_script("document.getElementById('theme').click()")
    dark = driver.execute_script(f"return [{ground}, {ink}]")
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    driver.get((site / "coverage.html").as_uri())
    assert driver.execute_script("return document.documentElement.dataset.theme") == "dark"
    driver.execute_script("document.getElementById('theme').click()")


def test_rows_are_filtered(site: Path, driver: Any) -> None:
    driver.get((site / "coverage.html").as_uri())
    driver.find_element("css selector", "#t-coverage input.filter").send_keys("task00 bert")
    shown = wait(
        driver,
        "[...document.querySelectorAll('#t-coverage tbody tr')].filter((r) => !r.hidden).map((r) => r.textContent)",
    )
    assert shown
    assert all("task00" in row and "bert" in row for row in shown)
