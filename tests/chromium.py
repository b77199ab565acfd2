"""A headless Chromium."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

WORDS = (
    "headless=new",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-sync",
    "disable-dev-shm-usage",
    "disable-background-networking",
    "disable-component-update",
)


def chromium(*words: str, log: str = "browser") -> Any:
    """Its WebDriver; ``words`` are further options, ``log`` names a further log that is kept. Skips
    the test where there is no Chromium."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no headless browser: chromium and chromedriver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in (*WORDS, *words):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", log: "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))
