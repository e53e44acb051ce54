"""The picture of the page in the documentation: `python -m benchmarks.page_picture CLIP`, beside a running server and page.

Needs playwright (`pip install playwright`) and a Chromium.
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from fas_core.errors import MissingDependencyError

WIDTH, HEIGHT = 1200, 860
COLOURS = 128  # of the file; a tenth of its size
SETTLED = 4000  # ms that pictures and bars take to stand still


def picture(clip: Path, url: str, browser: str | None) -> bytes:
    """PNG of the page after it has listened to the clip. Args: browser: path of a Chromium; None: playwright's own."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingDependencyError("the page's picture needs playwright: pip install playwright") from None
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.wait_for_selector("#listen")
        page.set_input_files("#audio input[type=file]", clip)
        page.wait_for_timeout(SETTLED)
        page.click("#listen")
        page.wait_for_selector("#summary strong")
        page.wait_for_timeout(SETTLED)
        print(page.inner_text("#summary"))
        return page.screenshot()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.page_picture", description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--page", default="http://127.0.0.1:7860", help="address of python -m serve.page (%(default)s)")
    parser.add_argument("--browser", help="path of a Chromium; default: playwright's own")
    parser.add_argument("--output", type=Path, default=Path("docs/images/page.png"))
    arguments = parser.parse_args(argv)
    shot = Image.open(io.BytesIO(picture(arguments.clip, arguments.page, arguments.browser))).convert("RGB")
    shot.quantize(COLOURS).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
