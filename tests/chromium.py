"""Debian's Chromium, driven by Playwright, with the network cut off; errors that a page reports are kept."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

PROGRAM = shutil.which("chromium")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed (Debian: chromium)")


@contextmanager
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield running
        running.close()


@contextmanager
def opened(running, address, width=1280, height=900, **context):
    """A page, offline; at the end it must have reported no error and asked for nothing but files."""
    session = running.new_context(viewport={"width": width, "height": height}, offline=True, **context)
    page = session.new_page()
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    session.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
