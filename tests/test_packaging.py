"""Requirements, the one address, and what must not stand in any file."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Repository"]


def listed():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.strip()]
    return [line.split("#")[0].strip() for line in lines], lines


def test_requirements_are_those_of_the_project():
    """Fails when one list gets a package that the other lacks, or Colab, which installs no extra, gets a JupyterLab."""
    names, lines = listed()
    notebooks = PROJECT["optional-dependencies"]["notebooks"]
    assert sorted(names) == sorted(PROJECT["dependencies"] + notebooks)
    assert {Requirement(text).name for text in notebooks} == {"jupyterlab", "ipywidgets"}
    assert all("  # " in line for line in lines), "each requirement says what it is for"


def test_constraints_hold_every_requirement():
    """Fails when the tested versions no longer satisfy the ranges."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    extras = [
        text for name in ("notebooks", "dev", "site", "browser") for text in PROJECT["optional-dependencies"][name]
    ]
    for text in PROJECT["dependencies"] + extras:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), text


def tracked():
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    return [
        ROOT / n for n in names if (ROOT / n).suffix not in {".jpg", ".png", ".safetensors"} and (ROOT / n).is_file()
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the git checkout")
def test_one_address_and_no_machine():
    """Fails when a badge points elsewhere, or a path of some machine or an index's host slips into a file."""
    slug = ADDRESS.removeprefix("https://github.com/")
    machine = re.compile(r"/work/|/root/|/home/\w|/tmp/bash|index-url|" + "pypi" + r"\.org|pythonhosted")
    for path in tracked():
        text = path.read_text()
        for found in re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/", text):
            assert found == slug, path
        for found in re.findall(r"git\+https://github\.com/([\w.-]+/[\w-]+)", text):
            assert found == slug, path
        if path != Path(__file__):
            assert not machine.search(text), f"{path.name}: {machine.search(text)[0]}"


def test_links_lead_somewhere():
    """Fails when a page links to a file, or CONTRIBUTING sends a contributor to one, that is not there any more."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 4
    for page in pages:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"
        for name in re.findall(r"`((?:landmark|tests|notebooks|docs)/[\w/]*(?:\.\w+)?)`", text):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_names_of_contributing_are_there():
    """Fails when a table that CONTRIBUTING sends a contributor to has got another name."""
    code = "\n".join(path.read_text() for path in (ROOT / "landmark").rglob("*.py"))
    for name in re.findall(r"`([A-Z][A-Za-z_]+)`", (ROOT / "CONTRIBUTING.md").read_text()):
        assert name == "Figure" or re.search(rf"^(class )?{name}\b", code, re.M), name


def test_nothing_unsafe():
    """Fails when code could run from a downloaded file, or a download could be read on the way."""
    unsafe = re.compile(r"pickle\.load|weights_only=False|extractall|shell=True|allow_pickle=True|\beval\(|\bexec\(")
    plain = re.compile(r"http://(?!127\.0\.0\.1)\w")  # an address in the clear, other than this machine's
    for path in [*(ROOT / "landmark").rglob("*.py"), *(ROOT / "notebooks").glob("*.py")]:
        code = re.sub(r"^ *>>> .*$", "", path.read_text(), flags=re.M).replace(".eval()", "")
        assert not unsafe.search(code), f"{path.name}: {unsafe.search(code)}"
        assert not plain.search(code), path.name
