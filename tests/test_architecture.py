"""The rooms: imports point one way, late ones too, and few modules lie loose at the top."""

import ast
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "ddpm_jax"


def rooms():
    """Each folder or loose module of the package, and those that it imports from, wherever in its files."""
    graph = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts == ("__init__",):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ddpm_jax":
                _, *inside = node.module.split(".")
                graph[parts[0]] |= {inside[0]} if inside else {alias.name for alias in node.names}
    return {room: found - {room} for room, found in graph.items()}


def test_imports_point_one_way():
    list(TopologicalSorter(rooms()).static_order())  # raises CycleError


def test_what_is_pure_mathematics_knows_nothing_of_a_run():
    ground = {"errors", "files", "cache", "keys", "plugins", "progress"}
    science = {"schedules", "processes", "denoisers", "objectives", "samplers", "likelihood", "oracles"}
    science |= {"models", "conditions", "editing"}
    for room in science:
        assert rooms()[room] <= ground | science
    assert rooms()["generative"] <= ground | science | {"data"}  # a model is its parts, without a config


def test_few_modules_lie_loose_and_each_folder_says_what_lives_there():
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    ground, commands = (
        "cache errors files keys plugins",
        "__main__ prepare train sample edit evaluate sweep report plan demo",
    )
    assert loose == {*ground.split(), *commands.split()}
    for folder in PACKAGE.iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
