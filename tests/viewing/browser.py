"""How does a test open a page in a browser, and what does the browser say of it?"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests import support

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DRIVERS = ("chromedriver", "chromium.chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
SECONDS = 120


def require_program(names: tuple[str, ...]) -> str:
    """Return the path of a program, or skip the test, or fail it where a browser must be there.

    A browser must be there wherever its driver must, see `support.require`.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    default = "all" if support.is_continuous_integration() else ""
    required = os.environ.get("CHUNKSTORE_REQUIRED", default)
    if required == "all" or "selenium" in required.split():
        pytest.fail(f"{names[0]} must be installed here and is not", pytrace=False)
    pytest.skip(f"{names[0]} is not installed here; `make test-all` runs this")


class Browser:
    """A headless browser, driven by selenium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file at a width, by day or by night."""
        self.messages()
        self.requests()
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        # As if the window were the one that the person is at.
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)
        self.driver.get(path.as_uri())

    def command(self, name: str, **parameters: Any) -> Any:
        """Run a command of the browser's own protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def messages(self) -> list[str]:
        """Return what stands in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the last call."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def press(self, key: str) -> None:
        """Press a key, as a person does."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def screenshot(self) -> bytes:
        """Return the whole page, also what is below the window, as a PNG file."""
        found = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def accessible(self) -> list[dict[str, Any]]:
        """Return what a screen reader is told: role, name and properties of each element."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node.get("role", {}).get("value", ""),
                "name": node.get("name", {}).get("value", ""),
                **{
                    entry["name"]: entry["value"].get("value")
                    for entry in node.get("properties", [])
                },
            }
            for node in nodes
            if not node["ignored"]
        ]


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser whose profile is an empty folder; end it behind the block."""
    webdriver = support.require("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = require_program(BROWSERS)
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(executable_path=require_program(DRIVERS))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield Browser(driver)
    finally:
        driver.quit()
