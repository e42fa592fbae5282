"""Set-up: pinned requirement files, the Makefile's list, and the script that fills the environment."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
HASHED = ["build", "runtime", "dev", "export", "lock"]
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(name: str) -> list[str]:
    """The requirements of a file, each with its continuation lines joined to it."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def requirement(entry: str) -> Requirement:
    return Requirement(entry.partition(" --hash")[0])


def pins(name: str, python: str) -> dict[str, str]:
    """Package → version that a file installs on Linux with this Python."""
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    wanted = [requirement(entry) for entry in entries(name)]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in wanted
        if each.marker is None or each.marker.evaluate(place)
    }


@pytest.mark.parametrize("name", HASHED)
def test_every_pin_is_exact_and_carries_hashes(name: str) -> None:
    assert entries(name)
    for entry in entries(name):
        assert re.fullmatch(r"==[0-9][^,*]*", str(requirement(entry).specifier)), entry
        assert HASH.search(entry), entry


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda file: file.name)
def test_no_file_names_an_index(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(
        r"https?:|file:|^\s*(-i|-f|--index|--extra-index|--find-links|--trusted)", text, re.M
    )


@pytest.mark.parametrize("python", PYTHONS)
def test_files_installed_together_agree(python: str) -> None:
    """`make test` puts all of them into one environment: none may move what another one pinned."""
    everything = pins("dev", python)
    assert pins("runtime", python).items() <= everything.items()
    for name in ("export", "build"):
        shared = pins(name, python).keys() & everything.keys()
        assert {key: pins(name, python)[key] for key in shared} == {key: everything[key] for key in shared}


@pytest.mark.parametrize("python", PYTHONS)
def test_pins_meet_what_the_project_declares(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {"runtime": project["dependencies"], "dev": extras["dev"], "export": extras["export"]}
    pinned = {"runtime": pins("runtime", python), "dev": pins("dev", python)}
    pinned["export"] = {**pins("export", python), **pins("torch", python)}
    for name, wanted in declared.items():
        for each in map(Requirement, wanted):
            assert each.specifier.contains(pinned[name][canonicalize_name(each.name)]), f"{name}: {each}"


@pytest.mark.parametrize("python", PYTHONS)
def test_demo_installs_no_torch_and_nothing_pulls_in_cuda(python: str) -> None:
    resolved = {package for name in HASHED for package in pins(name, python)}
    assert not {each for each in resolved if each.startswith(("torch", "nvidia", "cuda", "triton"))}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def test_make_alone_lists_every_target_for_people() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert targets is not None
    listed = re.findall(r"^ *make ([a-z-]+) +\S", make().stdout, re.M)
    assert sorted(listed) == sorted(set(targets[1].split()) - {"python-version"})


def test_make_names_the_missing_interpreter_and_the_way_out() -> None:
    result = make("demo", "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "No no-such-python here" in result.stdout
    assert "apt-get install python3" in result.stdout


VERSIONS = [("3.9", False), ("3.10", True), ("3.13", True), ("3.14", False)]


@pytest.mark.parametrize(("version", "accepted"), VERSIONS)
def test_make_refuses_a_python_without_pinned_wheels(version: str, accepted: bool, tmp_path: Path) -> None:
    """A stand-in interpreter that reports another version; everything else about it is the real one."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.version_info = ({version.replace('.', ', ')}, 0, 'final', 0)\n", encoding="utf-8"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    result = make("python-version", f"PYTHON={python}")
    assert (result.returncode == 0) is accepted
    assert (f"is Python {version}, and 3.10 to 3.13 is needed" in result.stderr) is not accepted


@pytest.fixture
def install() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("requirements_install", REQUIREMENTS / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Station:
    """A requirement folder and an environment whose pip only notes its arguments and ends as told."""

    def __init__(self, folder: Path) -> None:
        self.requirements = folder / "requirements"
        self.venv = folder / "venv"
        self.packages = self.venv / "lib" / "python3.10" / "site-packages"
        self.log = folder / "pip.log"
        for each in (self.requirements, self.venv / "bin", self.packages):
            each.mkdir(parents=True)
        for name in ("runtime", "torch"):
            (self.requirements / f"{name}.txt").write_text(f"{name}==1\n", encoding="utf-8")
        self.pip_ends("exit 0")

    def pip_ends(self, script: str) -> None:
        python = self.venv / "bin" / "python"
        python.write_text(f"#!/bin/sh\necho \"$*\" >> '{self.log}'\n{script}\n", encoding="utf-8")
        python.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_a_group_is_installed_once_until_its_file_changes(install: ModuleType, station: Station) -> None:
    environment = install.Environment(station.venv)
    install.install_group(environment, station.requirements, "runtime")
    install.install_group(environment, station.requirements, "runtime")
    assert len(station.calls()) == 1
    (station.requirements / "runtime.txt").write_text("runtime==2\n", encoding="utf-8")
    install.install_group(environment, station.requirements, "runtime")
    assert len(station.calls()) == 2


def test_hashes_are_required_of_all_but_torch_which_brings_nothing_along(
    install: ModuleType, station: Station
) -> None:
    environment = install.Environment(station.venv)
    install.install_group(environment, station.requirements, "runtime")
    install.install_group(environment, station.requirements, "torch")
    runtime, torch = station.calls()
    assert "--require-hashes" in runtime
    assert "--no-deps" in torch
    assert "--require-hashes" not in torch


def test_a_failed_download_is_told_and_tried_again(install: ModuleType, station: Station) -> None:
    environment = install.Environment(station.venv)
    station.pip_ends("exit 1")
    with pytest.raises(install.SetUpError, match=r"requirements/runtime\.txt.*run the same command again"):
        install.install_group(environment, station.requirements, "runtime")
    assert not environment.unfinished.exists()
    station.pip_ends("exit 0")
    install.install_group(environment, station.requirements, "runtime")
    assert len(station.calls()) == 2


def test_an_install_that_broke_off_halfway_leaves_its_mark(install: ModuleType, station: Station) -> None:
    """Disk full, for one: pip has begun to write packages, and one of them may look whole."""
    environment = install.Environment(station.venv)
    station.pip_ends(f"mkdir '{station.packages}/half'; exit 1")
    with pytest.raises(install.SetUpError):
        install.install_group(environment, station.requirements, "runtime")
    assert environment.unfinished.exists()


def test_torch_may_be_missing_and_that_is_said_in_one_line(
    install: ModuleType, station: Station, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = install.Environment(station.venv)
    station.pip_ends("echo 'ERROR: No matching distribution found for torch==1' >&2; exit 1")
    install.install_group(environment, station.requirements, "torch", needed=False)
    told = capsys.readouterr()
    assert "No matching distribution found for torch==1" in told.out
    assert len((told.out + told.err).splitlines()) == 1
    assert not environment.recorded("torch")


def test_packages_are_compiled_past_a_file_that_cannot_be(install: ModuleType, station: Station) -> None:
    station.pip_ends(f'exec "{sys.executable}" "$@"')
    (station.packages / "template.py").write_text("class {{ name }}:", encoding="utf-8")
    (station.packages / "whole.py").write_text("VALUE = 1\n", encoding="utf-8")
    install.Environment(station.venv).compile_packages()
    compiled = [file.name.partition(".")[0] for file in station.packages.rglob("*.pyc")]
    assert compiled == ["whole"]


def test_a_folder_that_is_no_environment_is_left_alone(install: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(install.SetUpError, match="is no virtual environment"):
        install.ensure_venv(install.Environment(tmp_path))
    assert (tmp_path / "thesis.txt").exists()


def test_python_without_ensurepip_is_told_the_package_to_install(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(install.SetUpError, match=r"apt-get install python3\.[0-9]+-venv"):
        install.ensure_venv(install.Environment(tmp_path / "venv"))
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_unfinished_environment_is_made_anew_and_a_whole_one_kept(
    install: ModuleType, tmp_path: Path
) -> None:
    environment = install.Environment(tmp_path / "venv")
    environment.path.mkdir()
    environment.unfinished.touch()
    (environment.path / "rubble").touch()
    install.ensure_venv(environment)
    assert not environment.unfinished.exists()
    assert not (environment.path / "rubble").exists()
    assert install.adoptable(environment)

    kept = environment.path / "kept"
    kept.touch()
    install.ensure_venv(environment)
    assert kept.exists()
