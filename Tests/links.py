#!/usr/bin/env python3
"""Checks that everything the documents name exists. Prints `FILE:LINE: what`; exit code 1 if something does not.

In README.md, the documents under .github and Tests, and the articles of Documentation.docc:

- relative links and images, with their anchors; DocC itself checks `<doc:...>`
- paths in backticks (`Sources/DNSWire`, `Daemon/Reload/Reloading.swift`), from the top, from Sources, Tests, or the document's folder
- names of source files in backticks (`Query.swift`), in any folder
- names of types in backticks (`QueryHandler.handle`): a source contains that word
- targets of `make`

In all files: articles, named as Documentation.docc/NAME.md.
"""

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CATALOG = TOP / "Sources/stub53/Documentation.docc"
SOURCES = {".swift", ".c", ".h", ".py", ".sh", ".md", ".docc"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
TICKED = re.compile(r"`([^`\n]+)`")
TYPE = re.compile(r"[A-Z][a-z0-9]*[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*|[A-Z][a-z]+[A-Z]\w*")
ARTICLE = re.compile(r"Documentation\.docc/(\w+)\.md")
MAKE = re.compile(r"(?:`|^)make ([a-z][a-z-]*)")

tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, check=True, capture_output=True,
                         text=True).stdout.split("\n")
files = [TOP / name for name in tracked if name and (TOP / name).is_file()]
names = {file.name for file in files}
code = [file for file in files if file.suffix in {".swift", ".c", ".h", ".service", ".socket"}]
words = {word for file in code for word in re.findall(r"\w+", file.read_text())}
goals = set(re.findall(r"^([a-z][a-z-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
problems = []


def anchors(document):
    """The anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def is_there(path, document):
    """Whether `path`, which may hold wildcards, exists where a reader would look."""
    places = [TOP, TOP / "Sources", TOP / "Tests", TOP / "Sources/stub53", document.parent]
    return any(any(place.glob(path)) if "*" in path else (place / path).exists() for place in places)


def check_ticked(text, document):
    """The problem with a text in backticks, or None."""
    path = re.sub(r":\d+$", "", text).rstrip("/")
    if re.fullmatch(r"[\w.+*-]+(/[\w.+*-]+)+", path):
        parts = path.split("/")
        in_sources = (TOP / parts[0]).is_dir() or (TOP / "Sources" / parts[0]).is_dir() or (TOP / "Tests" / parts[0]).is_dir()
        like_folders = all(re.fullmatch(r"[A-Z]\w*[a-z]\w*", part) for part in parts)
        if parts[0] != ".build" and (in_sources or like_folders or Path(path).suffix in SOURCES):
            return None if is_there(path, document) else f"'{path}' is not there"
    elif re.fullmatch(r"[\w+*-]+\.\w+", path) and Path(path).suffix in SOURCES:
        if not (any(Path(name).match(path) for name in names) or is_there(path, document)):
            return f"no file is named '{path}'"
    elif re.fullmatch(r"[A-Z]\w+([.(].*)?", path):
        name = re.match(r"\w+", path)[0]
        if TYPE.fullmatch(name) and name not in words:
            return f"no source knows '{name}'"
    return None


def check(document):
    fenced = False
    for number, line in enumerate(document.read_text().split("\n"), 1):
        def problem(what):
            problems.append(f"{document.relative_to(TOP)}:{number}: {what}")

        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        for goal in MAKE.findall(line):
            if goal not in goals:
                problem(f"make has no target '{goal}'")
        if fenced:
            continue
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = document.parent / path if path else document
            if not there.exists() and not (document.parent / "Resources" / path).exists():
                problem(f"'{target}' leads nowhere")
            elif anchor and there.suffix == ".md" and anchor not in anchors(there):
                problem(f"'{target}': no such heading")
        for text in TICKED.findall(line):
            if what := check_ticked(text, document):
                problem(what)


documents = [file for file in files if file.suffix in {".md", ".yml"}
             and (file.parent in (TOP, CATALOG) or file.is_relative_to(TOP / ".github") or file.is_relative_to(TOP / "Tests"))]
for document in documents:
    check(document)
for file in files:
    if file == Path(__file__).resolve() or file.suffix in {".png", ".hex"}:
        continue
    for number, line in enumerate(file.read_bytes().decode("utf-8", "replace").split("\n"), 1):
        for article in ARTICLE.findall(line):
            if not (CATALOG / f"{article}.md").exists():
                problems.append(f"{file.relative_to(TOP)}:{number}: there is no article '{article}'")
print("\n".join(problems) if problems else f"{len(documents)} documents name what is there")
sys.exit(1 if problems else 0)
