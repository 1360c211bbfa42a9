"""Several processes: what they are told by their environment, whether they agree, and that none waits for ever."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_jax.commands import joining
from ddpm_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("joining_program.py")
THREE = {joining.ADDRESS: "node0:1234", joining.COUNT: "2", joining.INDEX: "1"}


def test_nothing_is_asked_for_where_nothing_is_set():
    assert joining.read_environment({}) == {}
    assert joining.read_environment({joining.COUNT: "", joining.INDEX: ""}) == {}
    assert joining.read_environment({joining.ADDRESS: "node0:1234"}) == {}


def test_the_environment_of_each_process_reads_back():
    assert joining.environment("node0:1234", 2, 1) == THREE
    read = joining.read_environment(THREE)
    assert (read["coordinator_address"], read["num_processes"], read["process_id"]) == ("node0:1234", 2, 1)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({joining.ADDRESS: ""}, "JAX_COORDINATOR_ADDRESS is not set, but JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        ({joining.INDEX: ""}, "JAX_PROCESS_ID is not set, but JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES"),
        ({joining.COUNT: ""}, "JAX_NUM_PROCESSES is not set, but JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID"),
        ({joining.COUNT: "two"}, "JAX_NUM_PROCESSES: 'two' is not a whole number"),
        ({joining.COUNT: "-2"}, "JAX_NUM_PROCESSES: '-2' is not a whole number"),
        ({joining.COUNT: "0", joining.INDEX: "0"}, "JAX_NUM_PROCESSES: 0 is less than 1"),
        ({joining.INDEX: "1.0"}, "JAX_PROCESS_ID: '1.0' is not a whole number"),
        ({joining.INDEX: "2"}, "JAX_PROCESS_ID: 2 is not one of 0 ... 1"),
        ({joining.ADDRESS: "node0"}, "JAX_COORDINATOR_ADDRESS: 'node0' is not host:port"),
        ({joining.ADDRESS: "node0:0"}, "JAX_COORDINATOR_ADDRESS: 'node0:0' is not host:port"),
        ({joining.ADDRESS: ":1234"}, "JAX_COORDINATOR_ADDRESS: ':1234' is not host:port"),
    ],
)
def test_wrong_environments(changes, line):
    with pytest.raises(UserError) as caught:
        joining.read_environment({**THREE, **changes})
    assert str(caught.value).startswith(line)


def test_differences_name_the_value_and_whose_it_is():
    same = {"seed": 0, "map": "jit"}
    assert joining.differences({0: same, 1: dict(same)}) == []
    facts = {0: same, 1: {"seed": 5, "map": "jit"}, 2: {"map": "jit"}}
    assert joining.differences(facts) == ["seed: 0 in process 0, 5 in process 1, missing in process 2"]
    many = {index: {"seed": index > 0} for index in range(9)}
    assert joining.differences(many) == ["seed: False in process 0, True in processes 1, 2, 3 and 5 more"]


def test_the_code_has_a_digest_of_its_sources(monkeypatch, tmp_path):
    before = joining.code()
    assert before == joining.code()
    assert before["jax"].count(".") >= 2
    (tmp_path / "joining.py").write_text("other = 1")
    monkeypatch.setattr(joining, "__file__", str(tmp_path / "joining.py"))
    assert joining.code()["source"] != before["source"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start(facts, count=2, devices=(1, 1), index=None, **environment):
    """Start the program as all processes of `count`, or only as one of them, and return them."""
    address = f"localhost:{free_port()}"
    processes = []
    for number in range(count) if index is None else [index]:
        own = {
            **joining.environment(address, count, number),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices[number]),
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        line = [sys.executable, str(PROGRAM), json.dumps(facts[number])]
        processes.append(
            subprocess.Popen(line, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return processes


def ends(processes, seconds=90):
    """Exit codes and what each said on its standard error; a process that hangs is killed and fails the test."""
    ended = []
    try:
        for process in processes:
            _, words = process.communicate(timeout=seconds)
            ended.append((process.returncode, words))
    finally:
        for process in processes:
            process.kill()
    return ended


@pytest.mark.slow
def test_processes_that_agree_are_joined_and_end_well():
    processes = start([{"seed": 0}, {"seed": 0}])
    assert ends(processes) == [(0, ""), (0, "")]


@pytest.mark.parametrize(
    ("facts", "devices", "line"),
    [
        ([{}, {}], (2, 1), "devices: 2 cpu in process 0, 1 cpu in process 1"),
        ([{"--count": 4, "b": 1}, {"--count": 64}], (1, 1), "--count: 4 in process 0, 64 in process 1; b: 1 in "),
    ],
)
def test_processes_that_differ_all_end_with_the_same_line(facts, devices, line):
    for code, words in ends(start(facts, devices=devices)):
        assert code == 2
        assert words.startswith(f"error: the processes differ in {line}")
        assert words.count("\n") == 1


@pytest.mark.slow
def test_a_process_that_fails_alone_ends_the_others():
    (first, first_words), (second, second_words) = ends(start([{"fail": True}] * 2))
    assert (second, second_words) == (2, "error: my disk is full\n")
    assert (first, first_words) == (2, "error: another process has gone; what it said at its end tells why\n")


def test_a_process_that_waits_in_vain_says_so():
    [(code, words)] = ends(start([{}, {}], index=0, DDPM_JAX_JOIN_SECONDS="1"))
    assert code == 2
    assert words.startswith("error: the processes cannot be joined: process 0 of 2 has waited 1 s at localhost:")
    assert words.count("\n") == 1


def said(process, word):
    """Wait until the process has said a line that starts with the word."""
    assert any(line.startswith(word) for line in process.stdout), process.stderr.read()


def test_a_waiting_process_hears_ctrl_c():
    [waiting] = start([{}, {}], index=1)
    said(waiting, "joining")
    time.sleep(0.5)  # JAX has no word for it
    waiting.send_signal(signal.SIGINT)
    assert ends([waiting], 10) == [(130, "stopped\n")]


def test_sigterm_ends_a_joined_process():
    processes = start([{"sleep": 60}] * 2)
    for process in processes:
        said(process, "joined")
    processes[1].terminate()
    assert processes[1].wait(10) == -signal.SIGTERM
    processes[0].kill()
    ends(processes)
