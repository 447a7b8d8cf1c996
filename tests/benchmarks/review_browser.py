"""From a key to the next card on the screen: a specialist in a real browser decides card after card on a real endpoint.

python tests/benchmarks/review_browser.py --workspace WS [--findings 2000] [--decisions 200] [--think 0.3]

The workspace has releases; an audit with so many findings is planted into it, so give a copy. Without --think the next key comes as soon
as the next card is painted, faster than anybody reads. A time begins with the key's event, as the browser stamps it, and ends after the
frame in which the next card is painted. The last lines check that each decision is in the store, once.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "audit"), str(ROOT / "tests" / "serve_apps"), str(ROOT / "tests" / "jobs"), str(ROOT / "platform")]

from planted_audit import plant_audit  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from running import free_ports, job_command, wait_until_it_answers  # noqa: E402

from shelfcode.audit.decisions.desk import open_desk  # noqa: E402
from shelfcode.workspace import Workspace  # noqa: E402

KEYS = ("k", "a", "k", "u", "k")
STOPWATCH = """
() => {
  window.times = [];
  let pressed = 0;
  document.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    if (!pressed || !document.querySelector("#shown article")) return;
    const begun = pressed;
    pressed = 0;
    requestAnimationFrame(() => {  // the message comes after the frame was painted
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.times.push(performance.now() - begun);
      channel.port2.postMessage(0);
    });
  }).observe(document.getElementById("shown"), { childList: true });
}
"""


def main(
    workspace: Annotated[str, typer.Option(help="With releases; an audit is planted into it.")],
    findings: Annotated[int, typer.Option(help="Of the audit.")] = 2000,
    decisions: Annotated[int, typer.Option(help="Keys pressed.")] = 200,
    think: Annotated[float, typer.Option(help="Seconds between a card and the next key.")] = 0.0,
    browser: Annotated[str, typer.Option(help="Executable of a Chromium.")] = "/usr/bin/chromium",
) -> None:
    """Measure, and print the times in milliseconds."""
    audit = plant_audit(Workspace(workspace), findings).manifest.audit
    with tempfile.TemporaryDirectory() as folder, served(workspace, f"{folder}/review.sqlite") as url:
        times = decided(f"{url}/review/{audit}/queue", decisions, think, browser)
        desk = open_desk(f"sqlite:///{folder}/review.sqlite")
        events = [event for event in desk.history(audit, limit=10 * findings) if event.kind == "decision"]
    p50, p95 = np.percentile(times, [50, 95])
    print(f"{len(times)} decisions over {findings} findings, {think:g} s to think; load of the machine {os.getloadavg()[0]:.1f}")
    print(f"key to next card painted: p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {max(times):.0f} ms")
    print(f"in the store: {len(events)} decisions on {len({event.finding_id for event in events})} findings")


@contextlib.contextmanager
def served(workspace: str, store: str) -> Iterator[str]:
    """The endpoint over a workspace, with a review store."""
    port = free_ports(1)[0]
    command = job_command("serve_surfaces", "--workspace", workspace, "--port", str(port), "--review-store", store)
    with Path(f"{store}.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/v1/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(60)


def decided(address: str, decisions: int, think: float, executable: str) -> list[float]:
    """Press keys, each when the next card is there; milliseconds come back."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page: Any = browser.new_page()
        page.route("https://shop.example/**", lambda route: route.abort())
        page.goto(address)
        page.locator("#shown article").wait_for()
        page.wait_for_load_state("networkidle")
        page.evaluate(STOPWATCH)
        for number in range(decisions):
            time.sleep(think)
            page.keyboard.press(KEYS[number % len(KEYS)])
            page.wait_for_function("count => window.times.length > count", arg=number)
        page.wait_for_function("() => !document.getElementById('saving').textContent.includes('to be saved')", timeout=120_000)
        page.wait_for_load_state("networkidle")
        times: list[float] = page.evaluate("window.times")
        browser.close()
    return times


if __name__ == "__main__":
    typer.run(main)
