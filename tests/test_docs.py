"""README and docs: what they name is there, the reference is whole, the site is built strictly and needs no network."""

import ast
import importlib.util
import inspect
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ddpm_jax as dj
from ddpm_jax.config.keys import KEYS, OPTIONS
from ddpm_jax.denoisers import HEADS, PREDICTIONS
from ddpm_jax.models import NETWORKS, POOLED
from ddpm_jax.objectives.losses import OBJECTIVES
from ddpm_jax.objectives.times import TIMES
from ddpm_jax.processes import ORDERS
from ddpm_jax.samplers import SOLVERS
from ddpm_jax.schedules import SCHEDULES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *(ROOT / name for name in ("launch/README.md", "experiments/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").glob("*/README.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "configs|ddpm_jax|docs|experiments|launch|tests"
PATH = re.compile(rf"(?<![\w/.])((?:{FOLDERS})/[\w./*{{}},-]*|[a-z_]+/[a-z_/]+\.py)")
SECTIONS = "|".join(sorted({name.partition(".")[0] for name in KEYS if "." in name}))
KEY = re.compile(rf"`(?:--config\.|config\.)?((?:{SECTIONS})\.[a-z_0-9.]+)|--config\.((?:{SECTIONS})\.[a-z_0-9.]+)=")


def slug(heading):
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def anchors(page):
    return {slug(line.lstrip("# ")) for line in FENCE.sub("", page.read_text("utf-8")).splitlines() if line[:1] == "#"}


def unbraced(path):
    """The paths that braces of a shell stand for."""
    parts = [part.split(",") for part in re.split(r"[{}]", path)]
    return ["".join(choice) for choice in itertools.product(*parts)]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = page.parent / place if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_are_there(page):
    for named in PATH.findall(page.read_text("utf-8")):
        for path in unbraced(re.sub(r"\b[A-Z]+\b", "*", named).rstrip(".,:")):  # a word in capitals is anyone's name
            places = (ROOT, ROOT / "ddpm_jax", page.parent)
            assert any(any(place.glob(path.rstrip("/"))) for place in places), named


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_keys_and_commands_that_are_named_are_there(page):
    text = page.read_text("utf-8")
    sections = {name.rpartition(".")[0] for name in KEYS}
    for pair in KEY.findall(text):
        name = "".join(pair).rstrip(".")
        option = any(name.startswith(f"{place}.") for place in OPTIONS.values())
        file = name.endswith((".py", ".json", ".safetensors"))
        assert name in KEYS or option or name in sections or file, name
    for command in re.findall(r"python -m ddpm_jax\.(\w+)", text):
        assert (ROOT / "ddpm_jax" / f"{command}.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_that_is_shown_compiles(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
        compile(block, str(page), "exec")


def test_the_readme_does_what_it_says():
    """Its Python runs, but for the part that needs a run's folder; CI runs its test command."""
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    made = {}
    exec(block.partition("run = ")[0], made)
    assert made["x"].shape == (64, 2)
    (command,) = re.findall(r"(python -m pytest [^\n]*)\n", text)
    assert f"\n{command}\n" in (ROOT / ".ci/run").read_text("utf-8")


def test_ci_does_what_contributors_are_told_to():
    (block,) = re.findall(r"^```bash\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S)
    done = (ROOT / ".ci/run").read_text("utf-8")
    for command in re.split(r" && |\n", re.sub(r" *#.*", "", block).strip()):
        assert command.startswith("pip install") or command in done, command


def rows(page):
    """The rows of a page's tables, each a list of cells without their marks."""
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_members_has_every_config_and_figures_that_stand_among_the_results():
    page = ROOT / "docs/reference/members.md"
    told = [path for paths in re.findall(r"`(configs/[^`]+)`", page.read_text("utf-8")) for path in unbraced(paths)]
    assert sorted(told) == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("*/*.py"))
    reached = {}
    for member, *cells in rows(ROOT / "docs/explanation/results.md"):
        reached.setdefault(member, set()).update(cell.partition(" ± ")[0] for cell in cells)
    for member, _, config, _, bits, _, frechet in [row for row in rows(page) if len(row) == 7 and row[0] != "member"]:
        assert {bits, frechet} <= (reached[member] if "digits" in config else {"-"}), member


@pytest.mark.parametrize(
    "table",
    [SCHEDULES, NETWORKS, POOLED, PREDICTIONS, HEADS, OBJECTIVES, TIMES, ORDERS, SOLVERS],
    ids=["schedules", "networks", "pooled", "predictions", "heads", "objectives", "times", "orders", "solvers"],
)
def test_every_name_of_a_part_stands_in_the_reference(table):
    words = "".join((ROOT / "docs/reference" / f"{family}.md").read_text("utf-8") for family in ("gaussian", "ordered"))
    for name in table:
        assert re.search(rf"`{name}`|={name}`", words), name


def test_everything_in_the_face_has_its_page():
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("api*.md"))
    shown = re.findall(r"^::: (\S+)", pages, re.M)
    rooms = [place for place in shown if not place.rpartition(".")[2][0].isupper()]
    for name in dj.__all__:
        thing = getattr(dj, name)
        place = thing.__name__ if inspect.ismodule(thing) else f"{thing.__module__}.{thing.__qualname__}"
        exported = any(name in getattr(sys.modules.get(room), "__all__", ()) for room in rooms)
        assert exported or any(f"{other}.".startswith(f"{place}.") for other in shown), name


def test_the_table_of_keys_has_every_key_with_its_default():
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs/hooks/generated.py")
    generated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generated)
    rows = [[cell.strip() for cell in line.split(" | ")] for line in generated.keys().splitlines()]
    told = {row[0].strip("| `"): ast.literal_eval(row[2].strip("`")) for row in rows if row[0].startswith("| `")}
    assert told == {name: key.default for name, key in KEYS.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the site is built where the extra `docs` is installed")
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    """No script, style, picture or font comes from elsewhere, and each that a page names is in the site."""
    source = re.compile(r"<(?:script|img|source|iframe)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")
    for page in site.rglob("*.html"):
        for pair in source.findall(page.read_text("utf-8")):
            place = "".join(pair).partition("?")[0].partition("#")[0]
            if place.startswith("data:") or page.name == "404.html":
                assert "://" not in place
                continue
            assert (page.parent / place).exists(), (page.name, place)


@pytest.mark.slow
def test_the_site_has_formulas_and_the_study(site):
    idea = (site / "explanation/idea.html").read_text("utf-8")
    assert "<math" in idea
    assert "$`" not in idea
    assert (site / "experiments/why_diffusion/index.html").exists()
