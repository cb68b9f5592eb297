"""Print a SHA-256 of what each command gives, so that the code before and after a change can be compared bit for bit.

    python scripts/behaviour_digests.py [--data ../shared/data] [-o digests.json] [--keep FOLDER] [--only NAME...] [--jobs 2]
    python scripts/behaviour_digests.py --compare old.json

The code examined is the one that `import napari_virtual_paint` finds; PYTHONPATH=CHECKOUT/src selects another. Only the command line is
used, and outputs are read with tifffile and zarr, so that one script serves both sides. It prints one line per case, `name  sha256`, and
at the end one SHA-256 of all. --only takes names with * and ?, or prefixes of names. --compare exits with 1 and lists the cases that
differ. --keep writes what was digested, texts as JSON and pixels as NPZ, to inspect where two runs differ.

The digests hold on one machine with one set of packages: another processor or another torch changes last digits.
Left out, since two runs of the same code differ in it: times, memory, dates, processes, UUIDs and paths (see `plain`).
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from behaviour_bench import Bench, CommandError
from behaviour_cases import Case, all_cases

HERE = Path(__file__).resolve().parents[1]


def chosen(name: str, patterns: list[str] | None) -> bool:
    """Tell whether a case was asked for."""
    return patterns is None or any(fnmatch.fnmatchcase(name, pattern) or name.startswith(pattern) for pattern in patterns)


def examined(case: Case, bench: Bench, keep: Path | None) -> tuple[str, str]:
    """Return a case's name and digest, or what kept it from having one, which begins with a dash."""
    name, needs, work = case
    if needs and not (bench.data / needs).is_dir():
        return name, f"- skipped: {bench.data / needs} is not there"
    arrays: dict[str, np.ndarray] | None = None if keep is None else {}
    try:
        value = bench.plain(work(bench=bench), arrays)
    except (CommandError, OSError, ValueError, LookupError, TypeError, SyntaxError, StopIteration) as error:
        return name, f"- failed: {type(error).__name__}: {' '.join(bench.plain(str(error)).split())}"
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1)
    if keep is not None:
        beside = keep / name.replace("/", "__")
        beside.with_name(f"{beside.name}.json").write_text(text, encoding="utf-8")
        if arrays:
            np.savez_compressed(beside.with_name(f"{beside.name}.npz"), **arrays)
    return name, hashlib.sha256(text.encode()).hexdigest()


def compared(new: dict[str, str], old: dict[str, str], patterns: list[str] | None) -> list[str]:
    """Return a line for each case that differs, among those that were asked for; one that was skipped on a side is no difference."""
    lines = []
    for name in sorted({*new, *(name for name in old if chosen(name, patterns))}):
        mine, theirs = new.get(name, "- not there"), old.get(name, "- not there")
        if mine != theirs and not any(each.startswith("- skipped") for each in (mine, theirs)):
            lines.append(f"{name}: {theirs} -> {mine}")
    return lines


def machine() -> dict[str, str]:
    """Return what last digits depend on beside the code."""
    packages = {name: version(name) for name in ("numpy", "scipy", "scikit-image", "torch")}
    return {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version(), **packages}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data", metavar="FOLDER", help="real data")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="file for the digests")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder for what was digested")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases to run: patterns, or beginnings of names")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="commands that run at once (default: %(default)s)")
    parser.add_argument("--compare", type=Path, metavar="JSON", help="digests to compare with")
    return parser.parse_args()


def main() -> int:
    args = options()
    try:  # before the work, which takes minutes
        old = None if args.compare is None else json.loads(args.compare.read_text("utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{args.compare}: the digests can't be read ({error}); make them with -o.")
    start = time.perf_counter()
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="behaviour") as folder:
        bench = Bench(args.data.resolve(), Path(folder).resolve())
        print(f"code: {bench.code}", file=sys.stderr)
        cases = [case for case in all_cases(bench) if chosen(case[0], args.only)]
        with ThreadPoolExecutor(args.jobs) as pool:
            found = {}
            for name, digest in pool.map(partial(examined, bench=bench, keep=args.keep), cases):
                found[name] = digest
                print(f"{name}  {digest}", flush=True)
    whole = hashlib.sha256("".join(f"{name}  {found[name]}\n" for name in sorted(found)).encode()).hexdigest()
    failed = [name for name, digest in found.items() if digest.startswith("- failed")]
    print(f"all {len(found)} cases  {whole}")
    print(f"{time.perf_counter() - start:.0f} s, {len(failed)} failed", file=sys.stderr)
    if args.output is not None:
        stored = {"all": whole, "made_on": machine(), "cases": dict(sorted(found.items()))}
        args.output.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if old is None:
        return 1 if failed else 0
    if old["made_on"] != machine():
        print(f"The digests to compare with were made elsewhere: {old['made_on']}, here {machine()}.", file=sys.stderr)
    lines = compared(found, old["cases"], args.only)
    print("\n".join([f"{len(lines)} cases differ:", *lines] if lines else ["no case differs"]))
    return 1 if lines or failed else 0


if __name__ == "__main__":
    sys.exit(main())
