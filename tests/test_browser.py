"""The notebooks in a real JupyterLab in headless Chromium: run all, move every slider, and the picture changes."""
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

ROOT = Path(__file__).parent.parent
CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
NOTEBOOKS = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]

if not CHROMIUM and os.environ.get("REQUIRE_BROWSER"):
    raise RuntimeError("REQUIRE_BROWSER is set, and neither chromium nor google-chrome is installed")
pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="no browser installed"),
              pytest.mark.skipif(not os.environ.get("REQUIRE_BROWSER"), reason="`make browser` runs it")]


@pytest.fixture
def lab(tmp_path_factory):
    """Address of a JupyterLab that serves a copy of the notebooks; one for each, so that no kernel is left over."""
    folder = tmp_path_factory.mktemp("lab")
    for name in NOTEBOOKS:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=",
         "--allow-root", "--ServerApp.root_dir", str(folder), "--LabApp.news_url="],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config")})
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


def wait_until_idle(address, seconds=300, started=False):
    """Poll the sessions until the one kernel has been idle for a moment; with `started` it must have run cells."""
    calm = 0
    for _ in range(seconds * 2):
        sessions = json.load(urllib.request.urlopen(f"{address}/api/sessions"))
        calm = calm + 1 if sessions and sessions[-1]["kernel"]["execution_state"] == "idle" else 0
        if calm >= (8 if started else 3):
            return
        time.sleep(0.5)
    raise TimeoutError("the kernel stayed busy")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_run_all_and_move_every_slider(lab, name, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{lab}/lab/workspaces/{name[:2]}/tree/{name}.ipynb?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        wait_until_idle(lab)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        time.sleep(2)
        wait_until_idle(lab, started=True)
        sliders = page.locator(".jp-OutputArea .widget-slider")
        page.wait_for_function("document.querySelectorAll('.jp-Notebook .jp-Cell').length > 3")
        for _ in range(60):  # cells far away are drawn only when they come into view
            if sliders.count():
                break
            page.locator(".jp-WindowedPanel-outer").first.evaluate("panel => panel.scrollBy(0, 700)")
            page.wait_for_timeout(150)
        assert sliders.count() >= 1, "no slider on the page"
        for k in range(sliders.count()):
            picture = page.locator(".jp-OutputArea .widget-output img").last
            picture.wait_for(timeout=30_000)
            before = picture.get_attribute("src")
            handle = sliders.nth(k).locator(".noUi-handle")
            handle.focus()
            for _ in range(3):
                handle.press("ArrowLeft")
            page.wait_for_function("old => { const all = document.querySelectorAll('.jp-OutputArea .widget-output img');"
                                   " return all.length && all[all.length - 1].src !== old }", arg=before, timeout=30_000)
        assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        page.screenshot(path=os.environ.get("SCREENSHOTS", str(tmp_path)) + f"/{name}.png")
        browser.close()
