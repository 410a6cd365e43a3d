#!/usr/bin/env python3
"""Whether two builds have the same machine code, function by function: a change that only moves code keeps its loops.

    csrc/compare.py BEFORE AFTER    two build folders (-DCMAKE_BUILD_TYPE=Release), of one compiler and processor

Functions of the object files are compared by their names and, where a name comes with several instruction sets, by
theirs. Addresses do not count: a place in a function is the number of its instruction, a constant is its value, any
other reference is what it refers to; nor does padding. Functions whose name alone is another are paired by their code.
Tables in memory are no machine code and not compared. Prints what differs and exits with status 1 if anything does.
$OBJDUMP reads other processors' object files.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

OBJDUMP = os.environ.get("OBJDUMP", "objdump")
HEADER = re.compile(r"([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"\s*([0-9a-f]+):\t(.*)$")
RELOCATION = re.compile(r"\s+[0-9a-f]+: (R_\w+)\t(\S+?)([+-]0x[0-9a-f]+)?$")
TARGET = re.compile(r"\b[0-9a-f]+ <([^<>]+?)(?:\+0x([0-9a-f]+))?>")
LABEL = re.compile(r"^([0-9a-f]+) .{7} (\S+)\t[0-9a-f]+ (?:\.hidden )?(\.LC\d+)$", re.MULTILINE)
DUMPED = re.compile(r"^ [0-9a-f]+ ((?:[0-9a-f]{2,8} ){1,4})", re.MULTILINE)
PADDING = re.compile(r"(data16 |cs |xchg +%ax,%ax$|nop|int3|udf)")
CONSTANTS = re.compile(r"\.rodata\S*\.cst(\d+)$")  # of so many bytes each
STRINGS = re.compile(r"\.rodata\S*\.str")
RELATIVE = ("R_X86_64_PC32", "R_X86_64_PLT32")  # to the end of a field of four bytes
SETS = re.compile(r"avx512|avx2|neon|portable")

Place = tuple[str, str]  # the function's name; its instruction set, if the file is of one
Code = tuple[str, ...]
Function = tuple[Place, Code]


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Object:
    """One object file: its functions, by section and name, as (address, instruction, what it refers to)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.contents: dict[str, bytes] = {}
        self.numbered: dict[tuple[str, str], dict[int, int]] = {}
        self.labels = {label: (at, int(start, 16)) for start, at, label in LABEL.findall(run(OBJDUMP, "-t", path))}
        self.functions: dict[tuple[str, str], list[tuple[int, str, str]]] = {}
        self.starts: dict[str, dict[str, int]] = defaultdict(dict)
        section, name = "", ""
        for line in run(OBJDUMP, "-dr", "--no-show-raw-insn", path).splitlines():
            if line.startswith("Disassembly of section "):
                section = line.removeprefix("Disassembly of section ").rstrip(":")
            elif found := HEADER.match(line):
                name = found[2]
                self.functions[section, name] = []
                self.starts[section][name] = int(found[1], 16)
            elif found := INSTRUCTION.match(line):
                self.functions[section, name].append((int(found[1], 16), instruction(found[2]), ""))
            elif found := RELOCATION.match(line):
                at, text, refers = self.functions[section, name][-1]
                where = self.referred(found[1], found[2], int(found[3] or "0", 16))
                self.functions[section, name][-1] = at, text, f"{refers} {where}"

    def referred(self, kind: str, symbol: str, offset: int) -> str:
        """What a relocation refers to: a constant or a string itself, code (found later), or another symbol."""
        if symbol in self.labels:
            symbol, start = self.labels[symbol]
            offset += start
        offset += 4 if kind in RELATIVE else 0
        if found := CONSTANTS.match(symbol):
            size = int(found[1])
            start = offset // size * size
            return f"{self.content(symbol)[start : start + size].hex()}@{offset - start}"
        if STRINGS.match(symbol):
            return repr(self.content(symbol)[offset:].partition(b"\0")[0])
        if symbol.startswith(".text"):
            return f"{{{symbol}|{offset}}}"
        if symbol.startswith("."):  # tables of jumps, and data: where they lie there, does not count
            return symbol.split(".")[1]
        return symbol + (f"+{offset}" if offset else "")

    def content(self, section: str) -> bytes:
        if section not in self.contents:
            rows = DUMPED.findall(run(OBJDUMP, "-s", "-j", section, self.path))
            self.contents[section] = bytes.fromhex("".join(row.replace(" ", "") for row in rows))
        return self.contents[section]

    def code(self, section: str, name: str) -> Code:
        """The function's instructions, without addresses and padding."""

        def target(found: re.Match[str]) -> str:
            return self.named(section, found[1], int(found[2] or "0", 16), name)

        def in_section(found: re.Match[str]) -> str:
            starts, at = self.starts[found[1]], int(found[2])
            other = max((other for other in starts if starts[other] <= at), key=lambda other: starts[other])
            return self.named(found[1], other, at - starts[other], name)

        lines = []
        for _, text, refers in self.functions[section, name]:
            if PADDING.match(text):
                continue
            if refers:  # what the instruction itself says is not known before linking
                text = re.sub(r"\b[0-9a-f]+ <[^<>]+>", "", text).replace("0x0(%rip)", "(%rip)")
                text += " ->" + re.sub(r"\{(\S+)\|(-?\d+)\}", in_section, refers)
            lines.append(TARGET.sub(target, text))
        return tuple(lines)

    def named(self, section: str, name: str, offset: int, here: str) -> str:
        """A place in a function by the number of its instruction."""
        number = self.numbers(section, name).get(self.starts[section][name] + offset, "?")
        return f"#{number}" if name == here else f"<{name}>" + (f"#{number}" if number else "")

    def numbers(self, section: str, name: str) -> dict[int, int]:
        """The number of the instruction at each address, padding not counted."""
        if (section, name) not in self.numbered:
            counted = self.numbered[section, name] = {}
            number = 0
            for address, text, _ in self.functions[section, name]:
                counted[address] = number
                number += not PADDING.match(text)
        return self.numbered[section, name]


def instruction(text: str) -> str:
    """What objdump prints, with an address in the same section by its name, which it adds as a remark."""
    text, _, remark = re.sub(r"\s*//.*", "", text).strip().partition(" # ")
    return re.sub(r"-?0x[0-9a-f]+\(%rip\)", f"{remark}(%rip)", text.strip()) if TARGET.match(remark) else text.strip()


def functions(folder: Path) -> set[Function]:
    """The functions of a build. One name may come with more than one code, where it is of two files' own or inline."""
    paths = sorted(path for path in folder.rglob("*.o") if "CompilerId" not in str(path))
    if not paths:
        sys.exit(f"{folder}: no object files; build there first")
    found: set[Function] = set()
    for path in paths:
        sets = SETS.findall(path.name)
        made = Object(path)
        for section, name in made.functions:
            found.add(((name, sets[-1] if sets else ""), made.code(section, name)))
    return found


def pair_renamed(before: set[Function], after: set[Function]) -> Iterator[tuple[Place, Place]]:
    """Functions of another name and the same code, which are removed; what calls them by the old name follows."""
    while True:
        come = {(code, place[1]): place for place, code in after}
        names = {}
        for place, code in sorted(before):
            if new := come.pop((code, place[1]), None):
                yield place, new
                before.remove((place, code))
                after.remove((new, code))
                names[f"<{place[0]}>"] = f"<{new[0]}>"
        if not names:
            return
        followed = {(place, tuple(renamed(line, names) for line in code)) for place, code in before}
        before.clear()
        before.update(followed - after)
        after.difference_update(followed)


def renamed(line: str, names: dict[str, str]) -> str:
    return re.sub(r"<[^<>]+>", lambda found: names.get(found[0], found[0]), line)


def said(place: Place) -> str:
    name, _, part = place[0].partition(".")
    return run("c++filt", name).strip() + (f" [{part}]" if part else "") + (f" ({place[1]})" if place[1] else "")


def sizes(codes: list[Code]) -> str:
    return ", ".join(str(len(code)) for code in codes) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--lines", type=int, default=0, help="of each function's difference to print")
    options = parser.parse_args()
    before, after = functions(options.before), functions(options.after)
    common = before & after
    before, after = before - common, after - common
    for old, new in pair_renamed(before, after):
        print(f"renamed: {said(old)}\n     to: {said(new)}")
    for place in sorted({place for place, _ in before | after}):
        old_codes, new_codes = ([code for at, code in some if at == place] for some in (before, after))
        print(f"differs: {said(place)}: {sizes(old_codes)} -> {sizes(new_codes)} instructions")
        if old_codes and new_codes:
            lines = difflib.unified_diff(old_codes[0], new_codes[0], lineterm="", n=1)
            print(*islice(lines, options.lines), sep="\n", end="\n" if options.lines else "")
    print(f"{len(common)} functions are the same; {len(before)} before and {len(after)} after have no counterpart")
    return 1 if before or after else 0


if __name__ == "__main__":
    sys.exit(main())
