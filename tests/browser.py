"""A real headless browser, spoken to over a pipe: what a page loads, complains of, and how wide it is."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--remote-debugging-pipe", "--disable-background-networking", "--force-color-profile=srgb"),
)


def browser() -> str | None:
    """The path of a browser that this machine has."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of a running browser, by its DevTools protocol: NUL-terminated JSON on two pipes."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, os.fdopen(back, "rb", buffering=0)
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Read no more of it."""
        self._back.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = self._back.read(1 << 16)
            assert more, "the browser went away"
            self._buffer += more
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: Path, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Load a file at this width, with nothing but the file."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """What an expression is on the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the console says, and every script or request that the page made beside itself."""
        self.run("0")  # let what is under way arrive
        found = []
        for event in self.events:
            match event:
                case {"method": "Log.entryAdded", "params": {"entry": entry}}:
                    found.append(str(entry["text"]))
                case {"method": "Runtime.consoleAPICalled" | "Runtime.exceptionThrown", "params": said}:
                    found.append(str(said))
                case {"method": "Network.requestWillBeSent", "params": {"request": {"url": str(url)}, "type": kind}}:
                    if kind != "Document":
                        found.append(url)
                case {"method": "Page.javascriptDialogOpening", "params": said}:
                    found.append(str(said))
        return found

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """The page as a picture (PNG)."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(shot["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}}


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """A tab of a browser of its own, which ends with it."""
    path = browser()
    assert path is not None
    to_read, to = os.pipe()
    back, back_write = os.pipe()

    def wire() -> None:  # the browser reads commands from 3 and answers on 4
        os.dup2(os.dup(to_read), 3)
        os.dup2(os.dup(back_write), 4)

    running = subprocess.Popen(
        [path, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=wire,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(back_write)
    try:
        opened = Tab(to, back)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        os.close(to)
        running.kill()
        running.wait()


__all__ = ["browser", "tab"]
