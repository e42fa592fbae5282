"""Make the project's virtual environment, or bring it up to date.

    python3 requirements/install.py [--venv .venv] [--if-available GROUP] GROUP...

A group is one requirement file beside this script; the project itself is installed, editable, after them.
Standard library only, because nothing else is there yet. A second run with nothing changed starts no pip.
An environment whose last install was cut short (power, kill, Ctrl-C) is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
PURPOSES = {
    "runtime": "what the daemon and the demo need",
    "dev": "checks and tests",
    "export": "the exporter's ONNX tools",
    "torch": "torch for the CPU, large",
    "lock": "the tool that pins requirements",
}
# torch.txt says why it carries no hashes and why nothing may be pulled in with it.
PIP_OPTIONS = {"torch": ["--no-deps"]}
HASHED = ["--require-hashes"]


class SetUpError(Exception):
    """Set-up cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """One virtual environment and the notes it keeps about what was installed into it.

    `.installed/NAME` holds the fingerprint of an installed group, written after pip has finished.
    `.unfinished` exists while anything is being changed, so that a cut-short install is recognised.
    """

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def unfinished(self) -> Path:
        return self.path / ".unfinished"

    def recorded(self, name: str) -> str:
        """The fingerprint noted for `name`, empty when there is none."""
        try:
            return (self.path / ".installed" / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def record(self, name: str, fingerprint: str) -> None:
        note = self.path / ".installed" / name
        note.parent.mkdir(exist_ok=True)
        note.write_text(fingerprint, encoding="utf-8")

    def pip_install(
        self, arguments: Sequence[str], *, capture: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run `pip install`; `capture` keeps its messages for the caller instead of showing them.

        The environment stays marked unfinished when pip stopped after it had begun to write packages.
        """
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["install", "-qq", "--progress-bar", "off", "--only-binary", ":all:"]
        # Byte-compiling what is never imported would be most of the time until the first part is shown.
        command += ["--no-compile", *arguments]
        before = self._packages_changed_ns()
        self.unfinished.touch()
        stderr = subprocess.PIPE if capture else None
        result = subprocess.run(command, check=False, text=True, env=clean_environment(), stderr=stderr)
        if result.returncode == 0 or self._packages_changed_ns() == before:
            self.unfinished.unlink()
        return result

    def _packages_changed_ns(self) -> list[int]:
        """When a package was last added or taken away."""
        return [folder.stat().st_mtime_ns for folder in self._package_folders()]

    def _package_folders(self) -> list[Path]:
        return sorted(self.path.glob("lib/python*/site-packages"))

    def compile_packages(self) -> None:
        """Byte-compile every package: the tests take warnings for errors, and must not meet the compiler's.

        Files that do not compile are left as they are; packages ship such files as templates and test data.
        """
        command = [str(self.python), "-W", "ignore", "-m", "compileall", "-qq", "-j", "0"]
        subprocess.run([*command, *map(str, self._package_folders())], check=False)


def say(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def clean_environment() -> dict[str, str]:
    """This process's variables without those that make pip look or write outside the environment."""
    astray = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX"}
    return {name: value for name, value in os.environ.items() if name not in astray}


def interpreter_version() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def require_venv_modules() -> None:
    """Debian and Ubuntu ship Python without ensurepip, which a virtual environment needs."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    raise SetUpError(
        f"This Python {interpreter_version()} cannot make a virtual environment: its ensurepip is missing. "
        f"On Debian and Ubuntu: sudo apt-get install python{interpreter_version()}-venv"
    )


def adoptable(environment: Environment) -> bool:
    """Whether an environment made by other means has this Python version and a pip that starts."""
    probe = "import sys, pip; print('{}.{}'.format(*sys.version_info[:2]))"
    try:
        answer = subprocess.run(
            [environment.python, "-c", probe], check=False, capture_output=True, text=True
        )
    except OSError:
        return False
    return answer.stdout.strip() == interpreter_version()


def remove(environment: Environment) -> None:
    if not environment.path.exists():
        return
    ours = environment.unfinished.exists() or (environment.path / "pyvenv.cfg").exists()
    if not ours:
        raise SetUpError(
            f"{environment.path} exists and is no virtual environment. Move it away and run this again."
        )
    say(f"Making {environment.path.name} anew: it is unfinished, was moved or belongs to another Python.")
    shutil.rmtree(environment.path)


def ensure_venv(environment: Environment) -> None:
    """Leave a working, empty or already filled environment of this Python version at its path."""
    identity = f"Python {interpreter_version()} at {environment.path}"
    whole = environment.python.exists() and not environment.unfinished.exists()
    if whole and environment.recorded("venv") == identity:
        return
    if not (whole and not environment.recorded("venv") and adoptable(environment)):
        require_venv_modules()
        remove(environment)
        make_venv(environment)
    environment.record("venv", identity)


def make_venv(environment: Environment) -> None:
    say(f"Setting up {environment.path.name} for Python {interpreter_version()} (once, about a minute) ...")
    environment.path.mkdir(parents=True)
    environment.unfinished.touch()
    # The interpreter behind the symbolic link: this one may itself lie in the environment just removed.
    interpreter = os.path.realpath(sys.executable)
    made = subprocess.run(
        [interpreter, "-m", "venv", str(environment.path)], check=False, env=clean_environment()
    )
    if made.returncode:
        raise SetUpError(f"{environment.path} could not be made; the message above says why.")
    environment.unfinished.unlink()


def fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def install_group(environment: Environment, folder: Path, group: str, *, needed: bool = True) -> bool:
    """Install `folder`/`group`.txt unless it is there already; whether anything was installed.

    A failure raises SetUpError, or is only told if the group is not `needed`.
    """
    file = folder / f"{group}.txt"
    if environment.recorded(group) == fingerprint([file]):
        return False
    say(f"  {group}: {PURPOSES[group]} ...", end=" ")
    started = time.monotonic()
    result = environment.pip_install([*PIP_OPTIONS.get(group, HASHED), "-r", str(file)], capture=not needed)
    if result.returncode == 0:
        environment.record(group, fingerprint([file]))
        say(f"{time.monotonic() - started:.0f} s")
    elif needed:
        say("failed")
        raise SetUpError(
            f"pip could not install requirements/{file.name}; its message is above. "
            "Check the network and the package index pip is set up for, then run the same command again."
        )
    else:
        say(f"left out, pip says: {last_line(result.stderr)} (see requirements/{file.name})")
    return result.returncode == 0


def last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["pip said nothing"]
    return lines[-1].removeprefix("ERROR: ")


def install_project(environment: Environment, root: Path) -> None:
    """Install the project itself, editable, with the pinned build tool and no other."""
    build = root / "requirements" / "build.txt"
    current = fingerprint([build, root / "pyproject.toml"])
    if environment.recorded("project") == current:
        return
    say("  adclip itself ...", end=" ")
    editable = ["--no-deps", "--no-build-isolation", "--editable", str(root)]
    for arguments in ([*HASHED, "-r", str(build)], editable):
        if environment.pip_install(arguments).returncode:
            raise SetUpError("pip could not install the project itself; its message is above.")
    say("done")
    environment.record("project", current)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the virtual environment, or bring it up to date.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where it lies")
    parser.add_argument("--if-available", action="append", default=[], choices=PURPOSES, metavar="GROUP")
    parser.add_argument("groups", nargs="+", choices=PURPOSES, metavar="GROUP", help=", ".join(PURPOSES))
    return parser.parse_args(arguments)


def install_all(environment: Environment, groups: Sequence[str], if_available: Sequence[str]) -> None:
    folder = ROOT / "requirements"
    news = [install_group(environment, folder, group) for group in groups]
    news += [install_group(environment, folder, group, needed=False) for group in if_available]
    if "dev" in groups and any(news):
        environment.compile_packages()
    install_project(environment, ROOT)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    environment = Environment(options.venv.absolute())
    try:
        ensure_venv(environment)
        install_all(environment, options.groups, options.if_available)
    except SetUpError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except PermissionError as error:
        sys.stderr.write(f"This user may not write {error.filename}. If sudo made it, remove it first.\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again; it starts over cleanly.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
