"""Quantizes ONNX networks without data, by the zeroq program that is installed with this package.

>>> import zeroq
>>> report = zeroq.quantize("model.onnx", "model_int8.onnx", seed=1)
>>> verdict = zeroq.compare("model.onnx", "model_int8.onnx", min_sqnr=20, max_size="0.4x")
>>> verdict["passed"]

Keywords are the flags of `zeroq quantize --help` and `zeroq compare --help` with `_` for `-`: `True` is a flag without a
value, `None` and `False` leave it out, a list repeats it. A flag of one letter has one dash, as in `n=16`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from typing import Any, Union

__all__ = ["Flag", "Path", "ZeroqError", "compare", "quantize"]

Path = Union[str, "os.PathLike[str]"]
Scalar = Union[bool, int, float, str, "os.PathLike[str]", None]
Flag = Union[Scalar, Sequence[Scalar]]


class ZeroqError(Exception):
    """A run that did not end well: `code` as `zeroq explain CODE` takes it ("" if it has none), and `message`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.code = code
        self.message = message


def quantize(model: Path, output: Path, **flags: Flag) -> dict[str, Any]:
    """Quantizes the file `model` into the file `output`; the report, as `zeroq quantize --json` prints it."""
    return _run("quantize", [model, "-o", output], flags, done=(0,))


def compare(reference: Path, candidate: Path, **flags: Flag) -> dict[str, Any]:
    """Compares two files; the report, as `zeroq compare --json` prints it, whose `passed` tells if all limits are kept."""
    return _run("compare", [reference, candidate], flags, done=(0, 1))


def _run(command: str, paths: Sequence[Path], flags: dict[str, Flag], done: Sequence[int]) -> dict[str, Any]:
    arguments = [os.fspath(path) for path in paths]
    words = [word for name, value in flags.items() for word in _words(name, value)]
    run = subprocess.run([_program(), command, "--json", "--quiet", *words, *arguments], capture_output=True, encoding="utf-8")
    if run.returncode not in done:
        raise _error(run.returncode, run.stderr)
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def _words(name: str, value: Flag) -> Iterator[str]:
    flag = f"-{name}" if len(name) == 1 else "--" + name.replace("_", "-")
    values = [value] if isinstance(value, (str, os.PathLike)) or not isinstance(value, Sequence) else value
    for one in values:
        if one is True:
            yield flag
        elif one is not None and one is not False:
            yield from [flag, str(one)] if len(name) == 1 else [f"{flag}={one}"]


def _program() -> str:
    name = "zeroq.exe" if sys.platform == "win32" else "zeroq"
    beside = os.path.join(sysconfig.get_path("scripts"), name)
    program = beside if os.path.exists(beside) else shutil.which("zeroq")
    if program is None:
        raise ZeroqError("", "the program zeroq is neither beside this Python nor on PATH; install the wheel again")
    return program


def _error(status: int, stderr: str) -> ZeroqError:
    found = re.search(r"^error(?:\[(E\d+)\])?: (.*)", stderr, re.MULTILINE | re.DOTALL)
    if found is None:
        return ZeroqError("", stderr.strip() or f"zeroq ended with {status}")
    return ZeroqError(found[1] or "", found[2].strip())
