"""The Chromium that is installed, without a window, driven by Playwright (which downloads none)."""

import contextlib
import importlib.util
import shutil

import pytest

__all__ = ["IN_CHROMIUM", "MISSING", "chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = (
    "needs Chromium on the path (apt-get install chromium) and `pip install playwright`"
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None
    else ""
)
"""What a browser wants here; nothing: it is there."""
IN_CHROMIUM = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Chromium is there")
_OPTIONS = (
    "--no-sandbox",  # it refuses root otherwise
    "--disable-dev-shm-usage",  # shared memory is small in containers
)


@contextlib.contextmanager
def chromium():
    """A browser, closed in the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*_OPTIONS])
        try:
            yield browser
        finally:
            browser.close()
