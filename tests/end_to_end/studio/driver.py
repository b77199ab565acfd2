"""A headless browser that sees what a visitor sees, and hears what the page asks for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.chromium import chromium

T = TypeVar("T")
GRADIO = '"Method not implemented."'
"""What Gradio's client itself warns of whenever it has sent a file."""
WATCH = """
window.seen = {1: [], 2: [], 3: [], 4: []};
window.watching = new MutationObserver(() => {
  for (const i of [1, 2, 3, 4]) {
    const image = document.querySelector(`#lane${i} img[data-live]`);
    const text = document.querySelector(`#lane${i} figcaption`);
    if (!image || !text) continue;
    const last = seen[i].at(-1);
    if (!last || last[0] !== text.textContent) seen[i].push([text.textContent, image.src]);
  }
});
watching.observe(document.body, {subtree: true, childList: true, characterData: true});
"""


class Visitor:
    """One browser window. Skips the test where there is no Chromium."""

    def __init__(self, width: int = 1280, height: int = 1000) -> None:
        self.driver = chromium(f"window-size={width},{height}", log="performance")
        if width < 500:  # narrower than the browser makes a window
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self._asked: set[str] = set()
        self._errors: list[str] = []

    def open(self, address: str) -> None:
        """Go there and wait until the page is alive. What a page says as it is left, of requests
        that end with it, is no error."""
        self.errors()
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(address)
        self.wait(lambda: self.js("return document.body.dataset.ready"))

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """What it says, folded up or not."""
        return str(
            self.js(f"return document.querySelector('{selector}')?.textContent ?? ''")
        ).strip()

    def js(self, code: str) -> Any:
        """Run a script."""
        return self.driver.execute_script(code)

    def click(self, selector: str) -> None:
        """Click, wherever on the page it is."""
        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field, key by key."""
        from selenium.webdriver.common.keys import Keys

        element = self.find(selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(text)

    def tab(self, name: str) -> None:
        """Open a tab."""
        for button in self.driver.find_elements("css selector", "#tabs button[role=tab]"):
            if button.text == name or button.get_attribute("textContent").strip() == name:
                self.driver.execute_script("arguments[0].click()", button)
                return
        raise AssertionError(f"There is no tab {name}.")

    def wait(self, found: Callable[[], T], seconds: float = 150) -> T:
        """What ``found`` gives, once it gives something."""
        from selenium.common.exceptions import WebDriverException

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                value = found()
            except WebDriverException:
                value = None  # type: ignore[assignment]
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"Waited {seconds} s in vain; the page: {self.text('body')[:800]}")

    def asked(self) -> set[str]:
        """Every address that the page has asked for."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._asked.add(message["params"]["request"]["url"])
        return self._asked

    def elsewhere(self) -> list[str]:
        """Those of them that leave this machine."""
        here = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
        return [url for url in self.asked() if not url.startswith(here)]

    def errors(self) -> list[str]:
        """Errors and warnings in the console until now."""
        self._errors += [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING") and GRADIO not in entry["message"]
        ]
        return self._errors

    def quit(self) -> None:
        """Close the window."""
        self.driver.quit()
