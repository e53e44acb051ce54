"""Size and layering of a checkout in one table: `python -m benchmarks.structure [CHECKOUT] [--output FILE]`.

A floor may import those below it and itself. What only a type checker reads is no arrow, what a function imports is one.
"""

import argparse
import ast
import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

FLOORS = (("fas_core",), ("fas_alm",), ("eval", "serve"), ("demo", "experiments", "benchmarks"))
INSTALLED = {"fas_eval": "eval", "fas_serve": "serve"}  # as imports say it -> the folder
RANKS = {name: rank for rank, names in enumerate(FLOORS) for name in names}


def modules_of(root: Path) -> dict[str, Path]:
    """Dotted name -> file, of every folder that stands on a floor."""
    files = [file for name in RANKS for file in (root / name).rglob("*.py")]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports_of(tree: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """Modules of ours that a module names, the most exact name that there is."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            full = f"{INSTALLED.get(top, top)}.{rest}".rstrip(".")
            found = next((each for each in (full, full.rpartition(".")[0]) if each in known), None)
            if found:
                yield found


def cycles_of(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's components of more than one)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = sorted(arrows)
    place = {name: number for number, name in enumerate(names)}
    pairs = [(place[a], place[b]) for a, found in arrows.items() for b in found]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    matrix = coo_array(([1] * len(pairs), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(matrix, directed=True, connection="strong")
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        groups.setdefault(int(label), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def structure(root: Path) -> dict:
    """Figures of a checkout: modules, lines, cycles, arrows that run up."""
    modules = modules_of(root)
    lines = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules.items()}
    trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in modules.items()}
    arrows = {name: set(imports_of(tree, modules)) - {name} for name, tree in trees.items()}
    rank = {name: RANKS[name.split(".")[0]] for name in modules}
    sizes = [size for size in lines.values() if size]
    largest = sorted(lines, key=lambda name: -lines[name])[:3]
    return {
        "modules": len(sizes),
        "median_lines": statistics.median(sizes),
        "largest": {name: lines[name] for name in largest},
        "over_300_lines": sum(size > 300 for size in sizes),
        "cycles": cycles_of(arrows),
        "arrows_up": sorted(f"{a} -> {b}" for a, found in arrows.items() for b in found if rank[b] > rank[a]),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.structure", description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, nargs="?", default=Path(), help="root of the repository (%(default)s)")
    parser.add_argument("--output", type=Path, help="JSON of the same")
    arguments = parser.parse_args(argv)
    found = structure(arguments.checkout)
    for name, value in found.items():
        print(f"{name}: {value if not isinstance(value, list) else f'{len(value)} {value}'}")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
