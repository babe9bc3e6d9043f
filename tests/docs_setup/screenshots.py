"""The picture in docs/browsers.md, taken of a real Chromium: ``python -m tests.docs_setup.screenshots [FOLDER]``.

Law: the policy that it shows is the page's own file, where the page says that it belongs. Only the notice of which
options the browser was started with for the picture is taken away.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.parity.chromium import chromium, window

from .browsers import chromium_with, lay_over_etc
from .page import ROOT

IMAGES = ROOT / "docs" / "images"
WHEN_IT_IS_THERE = """
(async () => {
    const texts = (root) => [...root.querySelectorAll("*")].flatMap((element) => [
        ...(element.shadowRoot ? texts(element.shadowRoot) : []),
        ...[...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim()),
    ]);
    const words = () => texts(document).map((node) => node.data.trim()).join(" ");
    while (!words().includes("AuthServerAllowlist")) await new Promise((resolve) => setTimeout(resolve, 50));
    for (const node of texts(document))
        if (node.data.includes("This instance of"))
            node.parentElement.closest(".warning-text").parentElement.style.display = "none";
    return words();
})()
"""


def take(files: dict[str, str], folder: Path) -> str:
    """Write the pictures, in light and in dark; what the page says in words."""
    folder.mkdir(parents=True, exist_ok=True)
    said = ""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", chromium_with(lay_over_etc(Path(place), files), Path(place)))
        with chromium(os.environ) as url, window(url, private=False) as browser:
            for dark in (False, True):
                browser.look(dark=dark, width=1000, height=285)
                browser.visit("chrome://policy")
                said = str(browser.run(WHEN_IT_IS_THERE))
                (folder / f"policy-{'dark' if dark else 'light'}.png").write_bytes(browser.picture())
    return said


if __name__ == "__main__":
    from .test_browsers import PAGE, managed

    take(managed(PAGE.block("chromium-policy.json")), Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
