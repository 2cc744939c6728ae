"""A headless Chromium driven through its debugging pipe: real pointer, real keys, any width, and every request it makes."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import time

from report.test_browser import BROWSER, QUIET

__all__ = ["BROWSER", "Browser"]


class Browser(contextlib.AbstractContextManager):
    """One tab. ``events`` holds what the browser reported, in order."""

    def __init__(self, profile):
        ours, theirs = os.pipe(), os.pipe()  # commands to it, answers from it

        def on_its_side():
            # It reads from 3 and writes to 4; copies keep them from overwriting one another.
            reads, writes = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(
            [BROWSER, "--headless", *QUIET.split(), "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=on_its_side,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.commands = os.fdopen(ours[1], "wb", buffering=0)
        self.answers = os.fdopen(theirs[0], "rb")
        self.rest = b""
        self.number = 0
        self.session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError, AssertionError):
            self.session = None
            self.call("Browser.close")
        self.process.wait(timeout=30)
        self.commands.close()
        self.answers.close()

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _next(self):
        while b"\0" not in self.rest:
            part = self.answers.read1(1 << 20)
            assert part, "the browser ended"
            self.rest += part
        text, _, self.rest = self.rest.partition(b"\0")
        return json.loads(text)

    def open(self, path, *, width=1280, height=900, scheme="light"):
        """Open a file in a window of some width, in a light or dark setting."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        ends = time.monotonic() + 60
        while not self.run("document.readyState === 'complete' && document.fonts.status === 'loaded'"):
            assert time.monotonic() < ends, "the page did not load"
            time.sleep(0.05)

    def run(self, script):
        """Return what a script evaluates to; promises are waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def requests(self):
        """Return the addresses that were asked for, but those that hold their content themselves."""
        sent = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith("data:")]

    def messages(self):
        """Return what the page wrote to the console, and what the browser has to say of it."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event["params"] for event in self.events if event.get("method") in kinds]

    def point_at(self, script):
        """Move the pointer to the middle of an element that a script names."""
        x, y = self.run(
            f"(() => {{ const one = {script}; one.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const box = one.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key):
        """Press and release a key of the keyboard."""
        codes = {"Tab": 9, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key])

    def print(self):
        """Return the page as a PDF file."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
