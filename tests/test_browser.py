"""The lessons in a real JupyterLab in headless Chromium: run all, move a slider, see it redrawn."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import teach
from lib.parameters import notebooks

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
LESSONS = {name: path for name, path in notebooks().items() if "/" not in name}
IMAGE = ".jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img, .widget-image"

if not CHROMIUM and os.environ.get("REQUIRE_BROWSER"):
    raise RuntimeError("REQUIRE_BROWSER is set, and no browser is installed (chromium)")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no browser installed"),
    pytest.mark.skipif(not os.environ.get("REQUIRE_BROWSER"), reason="`make browser` runs it"),
]


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab that serves a copy of the lessons, without a token."""
    for path in LESSONS.values():
        shutil.copy(path, tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--IdentityProvider.token=", "--allow-root"]
    command += ["--ServerApp.root_dir", str(tmp_path), "--LabApp.news_url="]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api/status")
            break
        except OSError:
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(20)


def wait_until_idle(address, calm=6, seconds=300):
    """Wait until the one kernel has been idle for `calm` half seconds."""
    idle = 0
    for _ in range(2 * seconds):
        sessions = json.load(urllib.request.urlopen(f"{address}/api/sessions"))
        state = sessions[-1]["kernel"]["execution_state"] if sessions else "none"
        idle = idle + 1 if state == "idle" else 0
        if idle >= calm:
            return
        time.sleep(0.5)
    raise TimeoutError("the kernel stayed busy")


@pytest.mark.parametrize("name", LESSONS)
def test_run_all_and_move_the_slider(lab, name, tmp_path):
    from playwright.sync_api import sync_playwright

    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.goto(f"{lab}/lab/workspaces/{name[:2]}/tree/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        wait_until_idle(lab, calm=3)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        time.sleep(2)
        wait_until_idle(lab)
        sliders = page.locator(".jp-OutputArea .widget-slider")
        panel = page.locator(".jp-WindowedPanel-outer").first
        for k in range(80):  # cells far away are drawn only when they come into view
            if name != "00_start_here" and sliders.count():
                break
            page.screenshot(path=folder / f"{name}_{k:02}.png")
            before = panel.evaluate("panel => panel.scrollTop")
            panel.evaluate("panel => panel.scrollBy(0, 800)")
            page.wait_for_timeout(200)
            if panel.evaluate("panel => panel.scrollTop") == before:
                break
        if name != "00_start_here":
            picture = page.locator(IMAGE).last
            picture.wait_for(timeout=30_000)
            old = picture.get_attribute("src")
            handle = sliders.first.locator(".noUi-handle")
            handle.focus()
            for key in ("ArrowLeft", "ArrowRight", "ArrowRight"):  # some start at an end
                handle.press(key)
            changed = "([all, old]) => [...document.querySelectorAll(all)].pop().src !== old"
            page.wait_for_function(changed, arg=[IMAGE, old], timeout=30_000)
            page.screenshot(path=folder / f"{name}_slider.png")
        stderr = "[data-mime-type='application/vnd.jupyter.stderr'], .jp-mod-error"
        assert page.locator(f".jp-OutputArea {stderr}").count() == 0
        browser.close()


CUT_OFF = """() => Reveal.getSlides().filter((slide) => {
  const { h, v } = Reveal.getIndices(slide);
  Reveal.slide(h, v);
  const boxes = [...slide.querySelectorAll("p, li, pre, img, td, .MathJax")];
  return boxes.map((part) => part.getBoundingClientRect()).some(
    (box) => box.bottom > innerHeight + 1 || box.right > innerWidth + 1);
}).map((slide) => slide.innerText.slice(0, 60))"""


def test_decks_ask_no_network_and_nothing_is_cut_off(tmp_path, monkeypatch):
    from playwright.sync_api import sync_playwright

    monkeypatch.chdir(tmp_path)
    teach.slides()
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        for name in LESSONS:
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            asked = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.goto((tmp_path / "slides" / f"{name}.html").as_uri())
            page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=120_000)
            page.evaluate("Reveal.configure({ transition: 'none' })")  # measured at rest
            assert page.evaluate(CUT_OFF) == [], name
            assert not [url for url in asked if url.startswith("http")]
            page.screenshot(path=folder / f"{name}_deck.png")
            page.close()
        browser.close()
