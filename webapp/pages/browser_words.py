"""What a browser says of itself, as people call it: `Firefox 128 on Windows`."""

import re

# The first that is found counts: most browsers name those that they are like as well.
_BROWSERS = (
    ("Edge", re.compile(r"\bEdg(?:A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"\bOPR/(\d+)")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/(\d+)")),
    ("Firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"\b(?:Headless)?(?:Chrome|CriOS)/(\d+)")),
    ("Safari", re.compile(r"\bVersion/(\d+)[.\d]* (?:Mobile/\w+ )?Safari/")),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def browser_words(agent: str | None) -> str:
    """A header `User-Agent` in short; what is no browser that we know is told by its own first word."""
    if not agent or agent.isspace():
        return "Unknown"
    system = next((words for sign, words in _SYSTEMS if sign in agent), "")
    for name, pattern in _BROWSERS:
        if found := pattern.search(agent):
            return f"{name} {found[1]}" + (f" on {system}" if system else "")
    return agent.split(maxsplit=1)[0].replace("/", " ", 1)
