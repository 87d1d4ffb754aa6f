"""Whether a block of commands is run by tests/docs/walk, or says truly why not."""

import re

from pages import FAULTY, MARKS, REASONS, ROOT, SHELL, blocks, steps

INDEX = "docs/README.md"


def recipe(target):
    """The first command of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n\t(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    return found[1].strip() if found else None


def flat(text):
    return re.sub(r"[\\\s]+", " ", re.sub(r"\s#\s.*", "", text)).strip()


def untested_by(block):
    """The commands that the block's test does not mention. One that reads the page needs to mention nothing else."""
    name = block.marks["tested-by"]
    if not (ROOT / name).is_file():
        return [f"there is no {name}"]
    # What is a comment there is not run.
    test = re.sub(r"(?m)^\s*(#|//).*", "", (ROOT / name).read_text(encoding="utf-8"))
    if block.path.name in test:
        return []
    if block.language not in SHELL:
        return [f"{name} does not read {block.path}"]
    missing = []
    for command in (flat(it) for it, _ in steps(block)):
        made = re.fullmatch(r"make ([a-z0-9-]+)", command)
        if command not in flat(test) and not (made and recipe(made[1]) and recipe(made[1]) in test):
            missing.append(f"{name} does not run: {command}")
    return missing


def faults(block):
    marks = block.marks
    yield from (f"there is no mark {it}" for it in marks if it not in MARKS)
    if "untested" in marks and marks["untested"] not in REASONS:
        yield f"untested has no reason {marks['untested']}"
    if "tested-by" in marks:
        yield from untested_by(block)
    if block.language == "yaml" and not (block.is_manifest() or "values" in marks or block.is_left_out()):
        yield "YAML is a manifest, or has the mark values"
    if not block.language and re.search(r"^\$ ", block.text, re.M):
        yield "commands are in a console block"


def complaints(path):
    found = [(block.line, fault) for block in blocks(path) for fault in faults(block)]
    found += [(number, "commands are in a fenced block") for number in indented(path)]
    if str(path) == INDEX:
        text = (ROOT / path).read_text(encoding="utf-8")
        found += [(1, f"untested={it} is not explained") for it in REASONS if f"`untested={it}`" not in text]
    return [(line, f"mark: {fault}") for line, fault in found]


def indented(path):
    """Lines that Markdown takes for code by their indentation, and that begin with a tool of ours."""
    fenced = False
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"\s*```", line):
            fenced = not fenced
        elif not fenced and re.match(r" {4}(\$ |make |kubectl |helm |curl |tests/)", line):
            yield number
