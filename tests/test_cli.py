"""The command line: commands, help, mistakes in one line, exit codes."""

from __future__ import annotations

import errno
import io
import operator
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from massrl.cli import block_time_limit_signal, main
from massrl.commands import COMMANDS
from massrl.commands.exit_codes import EXIT_CODES
from massrl.config.parser import flags
from massrl.errors import ConfigError, StoppedError


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.startswith("massrl: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_commands_of_the_design_are_all_there() -> None:
    """Guards the table of commands that the documentation shows."""
    wanted = {"demo", "views", "pretrain", "evaluate", "recipes", "policies", "parts"}
    wanted |= {
        "compare",
        "export",
        "import",
        "data check",
        "data pack",
        "bench views",
        "bench step",
    }
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_without_a_command_lists_every_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the first thing a newcomer types."""
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(name in out and command.summary in out for name, command in COMMANDS.items())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_of_every_command_prints_its_flags(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards the help: no command may fail on --help, and each flag is shown once."""
    command = COMMANDS[name]
    assert main([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: massrl {name}")
    assert ("[--flags]" in out) == bool(command.options or command.own_flags)
    shown = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert len(shown) == len(set(shown))
    assert all(flag.split()[0] in shown for flag, _ in command.own_flags)
    if command.options is not None:
        module, _, kind = command.options.partition(":")
        known = set(flags(getattr(import_module(module), kind)))
        positional = {f"--{field}" for field in command.positional}
        assert positional <= known
        assert known - set(shown) == positional | {f"--{field}" for field in command.unused}


def test_help_of_pretrain_names_every_flag_of_the_public_surface(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards the flags of the issue, those of the command line itself among them."""
    main(["pretrain", "--help"])
    out = capsys.readouterr().out
    flags = (
        "--recipe --config --resume --out --data.train --data.val --data.limit --data.batch_size "
        "--data.workers --views.layout --views.policies --model.backbone --train.epochs "
        "--train.max_steps --train.seed --train.devices --train.accumulate --train.checkpoint_every"
    )
    lines = [line.split()[0] for line in out.splitlines() if line.startswith("  --")]
    assert set(flags.split()) <= set(lines)
    assert len(lines) == len(set(lines))


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards what a bug report needs."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("massrl 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], "unknown command 'pretrian': did you mean 'pretrain'"),
        (["data"], "unknown command 'data': did you mean 'data pack'"),
        (["data", "chek"], "did you mean 'data check'"),
        (["pretrain", "--data.trian=x"], "unknown flag --data.trian: did you mean '--data.train'"),
        (["pretrain", "photos"], "unexpected argument 'photos'"),
        (["pretrain", "--recipe", "cifar-byol"], "unknown recipe 'cifar-byol': did you mean"),
        (["pretrain", "--recipe"], "--recipe needs a value"),
        (["pretrain", "--recipe="], "--recipe is empty: the name of a recipe"),
        (["pretrain", "--recipe", "--out", "x"], "--recipe needs a value"),
        (["pretrain", "--config", "no/such.yaml"], "no/such.yaml"),
        (["data", "check", "x", "--rot=1"], "unknown flag --rot: did you mean '--root'"),
        (["data", "check", "no/such"], "neither a path that exists nor a dataset"),
        (["data", "check", "no/such"], "(IMAGES)"),
        (["views", "shapes(size=3)"], "size >= 16"),
        (["views", "shapes(size=3)"], "(IMAGES)"),
        (["pretrain", "--resume", "x"], "x is no run folder"),
        (["pretrain", "--resume", "x", "--recipe=default"], "no --recipe, --config or --init-from"),
        (["pretrain", "--data.limit=many"], "--data.limit is 'many', but a whole number"),
        (["pretrain", "--data.limit=0", "--train.seed=x"], "--train.seed is 'x'"),
        (["evaluate"], "run folder, file or name to"),
        (["evaluate", "--task", "knn"], "is missing"),
        (["views"], "is missing"),
        (["recipes", "shape-byol"], "unknown recipe 'shape-byol': did you mean 'shapes-byol'"),
        (["recipes", "default", "more"], "unexpected argument 'more'"),
        (["policies", "simclrr"], "unknown policy 'simclrr': did you mean 'simclr'"),
        (["policies", "weak"], "weak has no operations"),
        (["policies", "simclr", "--sze=3"], "unknown flag --sze: did you mean '--size'"),
        (["views", "shapes", "--step=3"], "--step needs --replay RUN"),
        (["views", "--replay", "no/such"], "no/such is no run folder"),
        (["data", "check"], "is missing"),
        (["demo", "--secnds=3"], "unknown flag --secnds: did you mean '--seconds'"),
    ],
)
def test_mistake_ends_with_code_2_and_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards every mistake against a traceback: what was wrong and what is accepted, in a line."""
    assert message in fails(capsys, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--views.layout=masrl"], "--views.layout is 'masrl': did you mean 'massrl'"),
        (["--views.policies=simclr,weka"], "unknown policy 'weka': did you mean 'weak'"),
        (["--views.policies=simclr,no/such.yaml"], "cannot read the policy file no/such.yaml"),
        (["--data.train=no/such/folder"], "'no/such/folder' is neither a path"),
        (["--model.backbone=resnet81"], "resnet18"),
        (["--data.batch_size=64"], "--data.batch_size to 20"),
    ],
)
def test_mistake_found_when_the_run_starts_is_one_line_too(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """Guards names that only the data or the networks know; and no half-made run is left."""
    shapes = ["--data.train=shapes(count=20,size=16)", "--train.max_steps=1", "--data.workers=0"]
    out = tmp_path / "run"
    assert main(["pretrain", *shapes, f"--out={out}", *words]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("massrl: ")
    assert message in err.splitlines()[-1]
    assert not out.exists()


ENDS: list[tuple[BaseException | None, int]] = [
    (ConfigError("no such thing"), 2),
    (StoppedError("stopped at once", signal_name="SIGINT"), 130),
    (StoppedError("stopped", signal_name="SIGTERM"), 143),
    (KeyboardInterrupt(), 130),
    (OSError(errno.ENOSPC, "no space left on device", "x"), 2),
    (MemoryError(), 2),
    (ZeroDivisionError("division by zero"), 2),  # of the user's own code: this file is not massrl's
    (None, 1),
]


@pytest.mark.parametrize(("error", "code"), ENDS, ids=[repr(error) for error, _ in ENDS])
def test_debug_adds_the_traceback_and_changes_nothing_else(
    error: BaseException | None,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards scripts: 2 was 1 with ``--debug``. The kind: whatever a command raises, Ctrl-C too."""

    def fail(words: list[str]) -> int:
        assert error is not None
        raise error

    # Without an error of ours a function of C, which no line of the user's code calls, raises TypeError.
    run = operator.neg if error is None else fail
    monkeypatch.setattr("massrl.commands.policies.run_policies", run)
    assert main(["policies"]) == code
    line = capsys.readouterr().err
    assert line.startswith("massrl: ")
    assert line.count("\n") == 1
    assert main(["policies", "--debug"]) == code
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last)")
    assert shown.endswith(line)


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_has_the_table_of_exit_codes(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards whoever writes a script around massrl; see ``tests/commands/test_exit_codes.py``."""
    main([word])
    out = capsys.readouterr().out.partition("exit codes\n")[2]
    rows = [line.split(maxsplit=1) for line in out.splitlines()]
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


def test_help_of_pretrain_shows_what_the_default_recipe_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Guards against a help that names the values of nobody's run."""
    main(["pretrain", "--help"])
    lines = capsys.readouterr().out.splitlines()
    (objective,) = (line for line in lines if "--method.name" in line)
    (hidden,) = (line for line in lines if "--model.projector.hidden" in line)
    assert objective.endswith("[simclr]")
    assert hidden.endswith("[2048]")


def test_data_check_ends_with_1_where_images_are_broken(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards scripts that ask whether a folder is whole: 0 yes, 1 no."""
    import cv2
    import numpy as np

    good = cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()
    (tmp_path / "good.png").write_bytes(good)
    assert main(["data", "check", str(tmp_path)]) == 0
    (tmp_path / "broken.png").write_bytes(good[:-30])
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "broken.png" in capsys.readouterr().out


WORDS = [
    [],
    ["--version"],
    *([*name.split(), "--help"] for name in COMMANDS),
    ["policies"],
    ["policies", "simclr"],
    ["recipes"],
    ["recipes", "default"],
    ["parts"],
    ["export", "no/such"],
    ["pretrain", "--recipe", "täglich…"],
    ["pretrain", "--data.train", "no/caf\udce9"],
]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437", "utf-8"])
def test_output_in_another_encoding_has_replaced_characters(
    encoding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards pipes on Windows, ``LC_ALL=C`` and ``PYTHONIOENCODING``, whatever is printed.

    The kind: characters that the encoding lacks, and names of files that are no UTF-8 (which UTF-8 lacks).
    """
    monkeypatch.chdir(tmp_path)
    for words in WORDS:
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, stream)
        assert main(words) in (0, 2)
        printed = ""
        for stream in streams.values():
            stream.flush()
            content = stream.buffer.getvalue()  # type: ignore[attr-defined]
            printed += content.decode(encoding)
        assert "unexpected" not in printed
        assert printed


def test_tables_and_progress_in_another_encoding_have_replaced_characters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards what rich draws, log lines and a whole run; and files, which are UTF-8 all the same."""
    images = tmp_path / os.fsdecode("täglich …".encode())
    streams = {name: io.TextIOWrapper(io.BytesIO(), "ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    tiny = (
        "--data.train=shapes(count=20,size=16) --data.batch_size=10 --data.workers=0 "
        "--model.backbone=resnet10-tiny --model.projector.hidden=16 --views.size=16 "
        "--views.layout=simclr --train.max_steps=2 --train.probe_every=0"
    )
    code = main(["pretrain", *tiny.split(), f"--out={images}"])
    streams["stderr"].flush()
    shown = streams["stderr"].buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert code == 0, shown
    assert "?" in shown
    assert "×" in (images / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [(">&-", "policies", 0), ("2>&-", "policies", 0), ("<&- >&- 2>&-", "policis", 2)],
)
def test_closed_streams_are_no_reason_to_fail(closed: str, words: str, code: int) -> None:
    """Guards services and ``pythonw``, which have no standard streams."""
    paths = os.pathsep.join(str(Path(item).resolve()) for item in sys.path if item)
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m massrl {words} {closed}'],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, b"")
    assert bool(done.stdout) == (closed == "2>&-")


@pytest.mark.parametrize("words", ["--version", "pretrain --help"])  # less and more than a buffer
def test_output_that_cannot_be_written_is_one_line_or_none(words: str) -> None:
    """Guards full disks; and ``head``, which closes the pipe, against "Exception ignored in …"."""
    paths = os.pathsep.join(str(Path(item).resolve()) for item in sys.path if item)
    settings: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": paths}, "check": False}
    command = [sys.executable, "-m", "massrl", *words.split()]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, **settings)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, **settings)
        assert done.returncode == 2
        assert done.stderr == b"massrl: the output cannot be written: no space left on the disk\n"


def test_signal_before_a_time_limit_is_blocked_in_a_slurm_job_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guards a job that is done: SIGUSR1 during start, report or exit must not end it with an error."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        block_time_limit_signal()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        block_time_limit_signal()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {*before, signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_what_the_system_or_the_users_code_raises_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards "unexpected …Error" for what a user can mend; a fault of massrl keeps it, and exit code 1."""

    def raising(error: Exception) -> Any:
        def command(words: list[str]) -> int:
            raise error

        return command

    told = "[Errno 2] No such file or directory: 'a b.txt'"
    for error, code, line in (
        (FileNotFoundError(2, "No such file or directory", "a b.txt"), 2, "a b.txt: No such file"),
        (MemoryError(), 2, "there is too little memory"),
        (ValueError("embedded null byte"), 2, "a path has a null character"),
        (KeyError("x"), 2, "your own code, "),  # of this file, which is no part of massrl
    ):
        monkeypatch.setattr("massrl.cli._load", lambda _, error=error: raising(error))
        assert main(["recipes"]) == code
        shown = capsys.readouterr().err
        assert shown.startswith(f"massrl: {line}")
        assert shown.count("\n") == 1
        assert told not in shown


def test_interrupt_while_python_exits_is_too_late() -> None:
    """Guards the end of a finished command: a traceback of Python's own, and exit code -2."""
    code = (
        "import atexit, os, signal, sys; from massrl.cli import main; sys.argv[1:] = ['--version'];"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT)); sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_interrupt_within_code_from_text_has_the_code_of_any_other() -> None:
    """Guards imports: dataclasses are made from text, and Python ends by the signal if Ctrl-C came there."""
    code = (
        "import sys; import massrl.cli as cli; cli._dispatch = lambda words: exec('raise KeyboardInterrupt');"
        "sys.exit(cli.main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "massrl: stopped\n")
