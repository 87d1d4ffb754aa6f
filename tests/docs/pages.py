"""The blocks of the documents, with the marks that stand behind a fence's language:

    untested=REASON     no test runs its commands, for one of the REASONS
    tested-by=FILE      that test or script runs them, or reads the block out of the page
    file=NAME           a walker saves the block under this name before it goes on
    values              YAML of the chart's values: a walker renders the chart with them
    fails               its last command is meant to fail
    eventually          its last command is asked again until what is shown has come

Renderers look at the first word alone.
"""

import re
import subprocess
import textwrap
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What tests/docs/check must find faults in.
FAULTY = Path("tests/docs/faulty.md")
SHELL = ("sh", "console", "bash")
REASONS = {
    "docker": "the machines of the tests have no Docker",
    "forge": "the project is not on a public forge yet",
    "long": "it takes many minutes, or measures this machine alone",
    "destructive": "it takes away what other tests need",
}
MARKS = ("untested", "tested-by", "file", "values", "fails", "eventually")


class Block:
    """A fenced block: its language, marks, text, and the line that its fence is in."""

    def __init__(self, path, line, info, text):
        words = re.sub("<!--.*?-->", "", info).split()
        self.path, self.line, self.text = path, line, text
        self.language = words[0] if words else ""
        self.marks = {name: value for name, _, value in (word.partition("=") for word in words[1:])}

    def is_left_out(self):
        return "untested" in self.marks or "tested-by" in self.marks

    def is_manifest(self):
        return self.language == "yaml" and "kind:" in self.text and "apiVersion:" in self.text


def blocks(path, text=None):
    """The fenced blocks of a Markdown file."""
    found, start = [], None
    for number, line in enumerate((text or (ROOT / path).read_text(encoding="utf-8")).splitlines(), 1):
        if start is None:
            fence = re.match(r"( *)(```+)\s*(.*)", line)
            if fence:
                start, lines = (number, fence[2], fence[3]), []
        elif line.strip() == start[1]:
            found.append(Block(path, start[0], start[2], textwrap.dedent("\n".join(lines)) + "\n"))
            start = None
        else:
            lines.append(line)
    return found


def is_whole(command):
    """Whether the shell would run it, or wait for more lines."""
    if re.search(r"(\\|\||&&)$", command.rstrip(" ")):
        return False
    asked = subprocess.run(["bash", "-n", "-c", command], check=False, capture_output=True, text=True)
    return asked.returncode == 0 and "here-document" not in asked.stderr


def steps(block):
    """The commands of a block, each with the lines that the page shows below it."""
    found = []
    for line in block.text.splitlines():
        if found and not is_whole(found[-1][0]):
            found[-1][0] += f"\n{line}"
        elif block.language == "console" and not line.startswith("$ "):
            if not found:
                raise ValueError(f"{block.path}:{block.line}: a console block begins with \"$ \"")
            found[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            found.append([line.removeprefix("$ "), []])
    return [(command, [line for line in shown if line.strip()]) for command, shown in found]


def tracked(*patterns):
    """The repository's files, also where it is not one of git's."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.splitlines()]
    else:
        left_out = {".git", "target", "node_modules"}
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if not left_out & set(path.relative_to(ROOT).parts)]
        names = [name for name in names if any(fnmatch(str(name), it) or Path(it) in name.parents for it in patterns)]
    return [name for name in names if (ROOT / name).is_file()]


def documents():
    return [path for path in tracked("*.md") if path != FAULTY]
