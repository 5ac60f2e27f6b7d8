"""A page in a browser of the person at the terminal."""

from __future__ import annotations

import webbrowser

__all__ = ["open_in_browser"]

_TEXT_BROWSERS = (webbrowser.GenericBrowser,)


def open_in_browser(url: str) -> bool:
    """In a browser with windows, if there is one; one that would take the terminal is left alone.

    Returns:
        Whether a browser was asked.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    return type(browser) not in _TEXT_BROWSERS and browser.open(url)
