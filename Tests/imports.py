#!/usr/bin/env python3
"""The import graph of the modules, and cycles of files inside them.

    imports.py             one line for each module, then the cycles of its files; exit code 1 if modules form a cycle
                           or break the order given in Architecture.md, if a module or a test imports a module that
                           Package.swift does not list for it, if a module does not import all that are listed, or if
                           two modules have a type of the same name
    imports.py --most 3    exit code 1 also if a cycle has more than three files
    imports.py --arrows    for each cycle, which file needs which other, and for what

A file needs another one if it names a type or a function that the other declares at top level. This scans identifiers
and is no compiler: it does not see members added by an extension in another file, or values of inferred type. A name
that a file declares itself, at any depth, counts as its own. So every cycle shown exists; a few may be larger.
"""

import argparse
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
DECLARES = re.compile(r"\b(?:struct|class|enum|actor|protocol|typealias|associatedtype)\s+([A-Z]\w*)|\bfunc\s+(\w+)|[{}]")
IMPORTS = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
                     r"(?:(?:struct|class|enum|protocol|typealias|func|let|var)\s+)?(\w+)", re.MULTILINE)
WORD = re.compile(r"(?:(\w+)\s*\.\s*|(\.)\s*)?\b([A-Za-z_]\w*)\b(\s*\()?")


def bare(text):
    """`text` without comments and the contents of string literals; code inside interpolations stays."""
    out, at, end = [], 0, len(text)
    strings, depths = [], []  # open literals as (delimiter, hashes); open parentheses of each open interpolation

    def literal(at):
        """The literal that begins at `at`, as (start of its text, delimiter, hashes)."""
        found = re.compile(r'(#*)("""|")').match(text, at)
        return (found.end(), found[2], found[1]) if found else None

    inside = False
    while at < end:
        if inside:
            quote, hashes = strings[-1]
            if text.startswith("\\" + hashes + "(", at):
                at += 2 + len(hashes)
                depths.append(1)
                inside = False
                out.append(" ")
            elif not hashes and text[at] == "\\":
                at += 2
            elif text.startswith(quote + hashes, at):
                at += len(quote + hashes)
                strings.pop()
                inside = False
                out.append('""')
            else:
                at += 1
            continue
        if text.startswith("//", at):
            at = text.find("\n", at)
            if at < 0:
                break
        elif text.startswith("/*", at):
            open_comments = 1
            at += 2
            while at < end and open_comments:
                if text.startswith("/*", at):
                    open_comments, at = open_comments + 1, at + 2
                elif text.startswith("*/", at):
                    open_comments, at = open_comments - 1, at + 2
                else:
                    at += 1
            out.append(" ")
        elif text[at] in '#"' and (begin := literal(at)):
            at, quote, hashes = begin
            strings.append((quote, hashes))
            inside = True
        else:
            if depths:
                depths[-1] += {"(": 1, ")": -1}.get(text[at], 0)
                if not depths[-1]:
                    depths.pop()
                    inside = True
                    out.append(" ")
                    at += 1
                    continue
            out.append(text[at])
            at += 1
    return "".join(out)


def targets():
    """Name, folder, own dependencies of each target, from the text of Package.swift."""
    manifest, found = bare_manifest(), {}
    for begin in re.finditer(r"\.(systemLibrary|target|executableTarget|testTarget)\(", manifest):
        depth, at = 1, begin.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(manifest[at], 0)
            at += 1
        body = manifest[begin.end():at - 1]
        name = re.search(r'name:\s*"(\w+)"', body)[1]
        folder = re.search(r'path:\s*"([^"]+)"', body)
        folder = folder[1] if folder else ("Tests/" if begin[1] == "testTarget" else "Sources/") + name
        listed = re.search(r"dependencies:\s*\[(.*?)\]", body, re.DOTALL)
        listed = listed[1] if listed else ""
        own = re.findall(r'"(\w+)"', re.sub(r"\.product\([^)]*\)", "", listed))
        found[name] = (TOP / folder, own)
    return found


def bare_manifest():
    return re.sub(r"^\s*//.*$", "", (TOP / "Package.swift").read_text(), flags=re.MULTILINE)


class File:
    """What a source file declares, imports and names."""

    def __init__(self, path):
        self.path = path
        code = bare(path.read_text())
        self.imports = set(IMPORTS.findall(code))
        self.top, self.declared, depth = set(), set(), 0
        for match in DECLARES.finditer(code):
            if match[0] in "{}":
                depth += 1 if match[0] == "{" else -1
                continue
            name = match[1] or match[2]
            self.declared.add(name)
            line = code[code.rfind("\n", 0, match.start()) + 1:match.start()]
            if not depth and not re.search(r"\b(private|fileprivate)\b", line):
                self.top.add(name)
        self.words = set()
        for before, dot, name, call in WORD.findall(code):
            # `Zone.Record` is a member of Zone; `Module.Record` is not.
            self.words.add((before or dot, name, bool(call)))
            if before:
                self.words.add(("", before, False))

    def needs(self, other, module):
        """The names for which this file needs `other`."""
        free = {name for before, name, call in self.words
                if before in ("", module) and (name[0].isupper() or call)}
        return (free & other.top) - self.declared


def cycles(arrows):
    """The strongly connected components of more than one node, largest first (Tarjan)."""
    index, low, stack, on_stack, found = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in sorted(arrows.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            members = []
            while not members or members[-1] != node:
                members.append(stack.pop())
                on_stack.discard(members[-1])
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return sorted(found, key=lambda members: (-len(members), members))


def documented():
    """The groups of modules in Architecture.md, in order: each uses only those to its left."""
    text = (TOP / "Sources/stub53/Documentation.docc/Architecture.md").read_text()
    order, = (part for part in text.split("\n\n") if part.startswith("`") and " · " in part)
    return [re.findall(r"`(\w+)`", group) for group in order.split(" · ")]


def layers(arrows):
    """The modules from the bottom up: each line uses only those above it."""
    left, done = dict(arrows), []
    while left:
        ready = sorted(name for name in left if all(to not in left for to in left[name]))
        if not ready:
            return done + [sorted(left)]
        done.append(ready)
        for name in ready:
            del left[name]
    return done


def main():
    options = argparse.ArgumentParser(description="The import graph of the modules, and cycles of their files.")
    options.add_argument("--most", type=int, help="how many files a cycle may have")
    options.add_argument("--arrows", action="store_true", help="which file of a cycle needs which, and for what")
    options = options.parse_args()
    sys.setrecursionlimit(10_000)
    faults = []

    everything = targets()
    files = {name: [File(path) for path in sorted(folder.rglob("*.swift"))] for name, (folder, _) in everything.items()}
    modules = {name: files[name] for name, (folder, _) in everything.items() if folder.is_relative_to(TOP / "Sources")}
    arrows = {}
    for name, (_, own) in everything.items():
        imported = set().union(*(file.imports for file in files[name])) & set(everything)
        if name in modules:
            arrows[name] = imported - {name}
        for file in files[name]:
            for missing in sorted((file.imports & set(everything)) - set(own) - {name}):
                path = file.path.relative_to(TOP)
                faults.append(f"{path} imports {missing}, which Package.swift does not name for {name}")
        for unused in sorted(set(own) - imported) if files[name] else []:
            # The end-to-end tests need programs that they don't import.
            if name in modules:
                faults.append(f"Package.swift names {unused} for {name}, which imports it nowhere")

    print("Modules, from the ground up; each with those that it imports:\n")
    for layer in layers(arrows):
        for name in layer:
            size = f"{len(modules[name])} files" if modules[name] else "C"
            print(f"  {name:13} {size:>9}   {' '.join(sorted(arrows[name]))}")
        print()
    place = {name: number for number, group in enumerate(documented()) for name in group}
    for name in sorted(set(arrows) ^ set(place)):
        faults.append(f"{name} is in Package.swift or in Architecture.md, and not in the other")
    for name, used in sorted(arrows.items()):
        for other in sorted(used):
            if place.get(other, -1) >= place.get(name, len(place)):
                faults.append(f"{name} imports {other}, which does not stand to its left in Architecture.md")
    for cycle in cycles(arrows):
        faults.append("cycle of modules: " + " ".join(cycle))

    print("Cycles of files:\n")
    for name, files in modules.items():
        needs = {file.path: {other.path for other in files if other is not file and file.needs(other, name)}
                 for file in files}
        found = cycles(needs)
        if not found:
            continue
        print(f"  {name}: {len(found)}, of {', '.join(str(len(cycle)) for cycle in found)} files")
        by_path = {file.path: file for file in files}
        for cycle in found:
            print("    " + " ".join(str(path.relative_to(TOP / "Sources" / name))[:-6] for path in cycle))
            if options.most is not None and len(cycle) > options.most:
                faults.append(f"{name}: a cycle of {len(cycle)} files, more than {options.most}")
            for path in cycle if options.arrows else []:
                for target in sorted(needs[path] & set(cycle)):
                    names = " ".join(sorted(by_path[path].needs(by_path[target], name)))
                    print(f"      {path.stem} -> {target.stem}: {names}")
    where = {}
    for name, files in modules.items():
        for type_name in {top for file in files for top in file.top if top[0].isupper()}:
            where.setdefault(type_name, []).append(name)
    for type_name, places in sorted(where.items()):
        if len(places) > 1:
            faults.append(f"{type_name} is a type of {' and of '.join(sorted(places))}")
    if faults:
        print("\n" + "\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
