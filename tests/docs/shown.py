"""What a page shows below a command, beside what came."""

import re

# A batch is named anew each time: the page's name for it, and the one that came.
NAMES = (r'"id":\s*"([^"]+)"', r"imagebatch\.imagebatch\.io/(\S+) created")


def pattern(text, space):
    """What a text of the page may come out as: `...` is anything, and what is counted has another number."""
    text = re.escape(text).replace(r"\.\.\.", ".*")
    text = re.sub(r"\b[\d.]+(%|s|m\d+s)(?=\\ |$)", r"\\S+", text)
    return re.compile(re.sub(r"(\\ )+", lambda _: space, text) + r"\s*", re.S)


def flat(lines):
    return "".join(line.strip() for line in lines)


def named(shown, came):
    """The page's names of what was made, with the true ones."""
    found = {}
    for name in NAMES:
        page, true = (re.search(name, text) for text in ("\n".join(shown), came))
        if page and true and page[1] != true[1] and "..." not in page[1]:
            found[page[1]] = true[1]
    return found


def missing(shown, came):
    r"""The first line of the page that did not come, or None. JSON may be broken into lines as the page likes.

    >>> missing(["NAME   AGE", "a      5s", "..."], "NAME  AGE\na     7m3s\n")
    >>> missing(["first", "second"], "second\nfirst\n")
    'second'
    >>> missing(['{"a":1,', ' "b":...}'], '{"a":1,"b":[2]}')
    >>> missing(['{"a":1,...}'], '{"a":2,"b":1}')
    '{"a":1,...}'
    """
    lines = came.splitlines()
    if shown and shown[0].startswith("{"):
        return None if pattern(flat(shown), r"\s*").search(flat(lines)) else "\n".join(shown)
    for line in shown:
        if line.strip() == "...":
            continue
        wanted = pattern(line, r"\s+")
        at = next((at for at, it in enumerate(lines) if wanted.fullmatch(it)), None)
        if at is None:
            return line
        lines = lines[at + 1 :]
    return None
