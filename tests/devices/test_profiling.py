"""Where a step's time goes: the table on events made by hand, the reading of a real trace, and a recorded run."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ddpm_jax.devices import profiling, xplane
from ddpm_jax.devices.dispatch import Dispatch
from ddpm_jax.devices.xplane import BACKWARD, CONVOLUTION, ELEMENTWISE, FORWARD, MOVEMENT, PRODUCT, REDUCTION, UPDATE
from ddpm_jax.errors import UserError
from ddpm_jax.train import main, train

DIGITS = f"--config={Path(__file__).resolve().parents[2]}/configs/digits/ddpm.py"


def operation(name, kind=ELEMENTWISE, phase=FORWARD, path="", words=""):
    return xplane.Operation(name, kind, phase, path, words or name)


A, B = operation("a", CONVOLUTION, FORWARD, "up/conv"), operation("b", PRODUCT, BACKWARD, "up/dense")


def events(*spans, device="0"):
    return [xplane.Event(device, op, float(start), float(end)) for op, start, end in spans]


class TestSpent:
    def test_one_after_another_with_a_gap(self):
        spent = profiling.spent(events((A, 10, 30), (B, 40, 50)))
        assert (spent.window, spent.idle, spent.devices) == (40, 10, 1)
        assert spent.of == {A: 20, B: 10}

    def test_at_once_each_counts_its_part(self):
        spent = profiling.spent(events((A, 0, 30), (B, 10, 20), (A, 10, 40)))
        third = 10 / 3
        assert spent.of[B] == pytest.approx(third)
        assert spent.of[A] == pytest.approx(40 - third)
        assert spent.idle == 0

    def test_all_adds_up(self):
        many = [(A if i % 3 else B, i * 7 % 50, i * 7 % 50 + i % 11) for i in range(60)]
        spent = profiling.spent(events(*many))
        assert sum(spent.of.values()) + spent.idle == pytest.approx(spent.window)

    def test_devices_are_averaged(self):
        spent = profiling.spent(events((A, 0, 10)) + events((A, 100, 130), device="1"))
        assert (spent.window, spent.idle, spent.devices, spent.of) == (20, 0, 2, {A: 20})

    def test_what_took_no_time(self):
        assert profiling.spent(events((A, 5, 5))).window == 0
        assert "no operation" in profiling.table(events((A, 5, 5)), 1)


def test_table():
    again = operation("a.2", CONVOLUTION, FORWARD, "up/conv")
    lost = operation("fusion.3", REDUCTION, UPDATE, words="fusion.3 [4]")
    lines = profiling.table(events((A, 0, 4e6), (again, 4e6, 5e6), (B, 5e6, 8e6), (lost, 9e6, 10e6)), 5).splitlines()
    assert lines[0].startswith("where a step's time goes: 5 steps of 2.00 ms as recorded, on 1 device of")
    assert [line.split() for line in lines[1:7]] == [
        ["all", "forward", "backward", "update"],
        ["convolution", "50.0%", "50.0%", "0.0%", "0.0%"],
        ["matrix", "product", "30.0%", "0.0%", "30.0%", "0.0%"],
        ["reduction", "10.0%", "0.0%", "0.0%", "10.0%"],
        ["all", "operations", "90.0%", "50.0%", "30.0%", "10.0%"],
        ["idle", "or", "untraced", "10.0%"],
    ]
    assert [line.split() for line in lines[8:]] == [
        ["50.0%", "forward", "convolution", "up/conv"],
        ["30.0%", "backward", "matrix", "product", "up/dense"],
        ["10.0%", "update", "reduction", "(fusion.3", "[4])"],
    ]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "jit(pinned)/jvp(UNet)/up_0_0/conv_1/conv_general_dilated",
            (FORWARD, "up_0_0/conv_1", "conv_general_dilated"),
        ),
        ("jit(f)/while/body/closed_call/transpose(jvp(UNet))/down/add", (BACKWARD, "down", "add")),
        ("jit(f)/jvp(UNet)/down_1_0/jit(silu)/div", (FORWARD, "down_1_0", "div")),
        ("jit(f)/transpose(jvp(DiT))/block_0/checkpoint/rematted_computation/mul", (BACKWARD, "block_0", "mul")),
        ("jit(f)/jvp(UNet)/concatenate", (FORWARD, "", "concatenate")),
        ("jit(f)/transpose(jvp(UNet))/reduce_sum)", (BACKWARD, "", "reduce_sum")),
        ("jit(f)/jvp()/mul", (FORWARD, "", "mul")),
        ("jit(pinned)/jit(_randint)/while", (UPDATE, "", "while")),
        ("", (UPDATE, "", "")),
    ],
)
def test_place_of(name, place):
    assert xplane.place_of(name) == place


@pytest.mark.parametrize(
    ("opcode", "target", "kind"),
    [
        ("convolution", "", CONVOLUTION),
        ("custom-call", "__cudnn$convBackwardFilter", CONVOLUTION),
        ("custom-call", "__cublas$lt$matmul", PRODUCT),
        ("custom-call", "__cudnn$fmhaSoftmax", PRODUCT),
        ("custom-call", "SomethingElse", xplane.OTHER),
        ("all-reduce-start", "", xplane.COLLECTIVE),
        ("copy-done", "", MOVEMENT),
        ("multiply", "", ELEMENTWISE),
        ("while", "", xplane.CONTROL),
    ],
)
def test_kind_of(opcode, target, kind):
    assert xplane.kind_of(opcode, target) == kind


def test_an_operation_that_no_program_names():
    assert xplane.unknown("MemcpyD2H").kind == MOVEMENT
    assert xplane.unknown("kernel").kind == xplane.OTHER


PROGRAM = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

FileNames
1 "step.py"

%inside (a: f32[8,4], b: f32[4]) -> f32[8] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4]{0} parameter(1)
  %add.1 = f32[4]{0} add(%b, %b), metadata={op_name="jit(step)/jvp(Net)/dense/add"}
  ROOT %dot.1 = f32[8]{0} dot(%a, %add.1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main.2 (p: f32[8,4], q: f32[4]) -> (f32[8], f32[8]) {
  %p = f32[8,4]{1,0:T(8,128)} parameter(0), metadata={op_name="p"}
  %q = f32[4]{0} parameter(1), sharding={replicated}
  %conv.1 = (f32[8,4]{1,0}, /*index=1*/u8[64]{0:S(5)}) custom-call(%p, %q), custom_call_target="__cudnn$convForward", \
metadata={op_name="jit(step)/transpose(jvp(Net))/conv_1/conv_general_dilated" stack_frame_id=1}, backend_config={"a":{}}
  %copy.1 = f32[8,4]{1,0} get-tuple-element(%conv.1), index=0
  %fusion.1 = f32[8]{0} fusion(%copy.1, %q), kind=kOutput, calls=%inside
  %sum-start = ((f32[8]{0}), f32[8]{0}) async-start(%fusion.1), calls=%inside
  ROOT %tuple.1 = (f32[8]{0}, f32[8]{0}) tuple(%fusion.1, %fusion.1), metadata={op_name="jit(step)/add"}
}
"""


def test_operations_of_a_program():
    """Kind, phase and path; `fusion.1` and `sum-start` have lost their names, and are what they were computed from."""
    found = xplane.operations(PROGRAM, {"conv.1", "fusion.1", "sum-start", "tuple.1", "unheard-of"})
    assert {name: (op.kind, op.phase, op.path) for name, op in found.items()} == {
        "conv.1": (CONVOLUTION, BACKWARD, "conv_1"),
        "fusion.1": (PRODUCT, BACKWARD, ""),
        "sum-start": (PRODUCT, BACKWARD, ""),
        "tuple.1": (MOVEMENT, UPDATE, ""),
    }
    assert found["fusion.1"].words == "fusion.1 f32[8]"
    assert found["tuple.1"].words == "add"


ACCELERATORS = """
planes {
  name: "/device:GPU:0"
  lines { name: "Stream #16(Compute)" events { metadata_id: 1 offset_ps: 1000 duration_ps: 4000 stats { metadata_id: 1
    str_value: "dot.3" } } events { metadata_id: 2 offset_ps: 5000 duration_ps: 1000 } }
  event_metadata { key: 1 value { id: 1 name: "sm90_gemm" } }
  event_metadata { key: 2 value { id: 2 name: "MemcpyH2D" } }
  stat_metadata { key: 1 value { id: 1 name: "hlo_op" } }
}
planes {
  name: "/device:TPU:0"
  lines { name: "Steps" events { metadata_id: 1 offset_ps: 0 duration_ps: 9000 } }
  lines { name: "XLA Ops" events { metadata_id: 2 offset_ps: 2000 duration_ps: 3000 } }
  event_metadata { key: 1 value { id: 1 name: "7" } }
  event_metadata { key: 2 value { id: 2 name: "%fusion.7 = f32[8]{0} fusion(...)" } }
}
planes { name: "/host:CPU" lines { name: "python" events { metadata_id: 1 offset_ps: 0 duration_ps: 9000 } }
  event_metadata { key: 1 value { id: 1 name: "PjitFunction" } } }
"""


def test_planes_of_accelerators(tmp_path):
    """Their events are of streams (GPU) or of the line of operations (TPU); no program is known here."""
    file = tmp_path / "trace.xplane.pb"
    file.write_bytes(jax.profiler.ProfileData.text_proto_to_serialized_xspace(ACCELERATORS))
    found = [(event.device, event.operation.name, event.start, event.end) for event in xplane.read(file, "")]
    assert found == [
        ("/device:GPU:0", "sm90_gemm", 1, 5),
        ("/device:GPU:0", "MemcpyH2D", 5, 6),
        ("/device:TPU:0", "%fusion.7 = f32[8]{0} fusion(...)", 2, 5),
    ]


def test_a_trace_without_events(tmp_path):
    (tmp_path / "empty.xplane.pb").write_bytes(b"")
    assert xplane.read(tmp_path / "empty.xplane.pb", "") == []


@pytest.mark.parametrize("value", ["", "0", "-3", "ten", "1.5"])
def test_values_that_are_refused(value, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        main([DIGITS, f"--profile={value}"])
    assert str(caught.value).startswith(f"--profile: {value!r} is not a number of steps")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_values():
    assert [profiling.steps_to_record(text) for text in (None, "1", "25")] == [0, 1, 25]


class State:
    """What a recorder looks at."""

    def __init__(self, x, step):
        self.x, self.step = x, step


jax.tree_util.register_pytree_node(State, lambda s: ((s.x, s.step), None), lambda _, parts: State(*parts))


@jax.jit
def network_step(state, data, rows, count, clock):
    """A convolution, a matrix product and an update by their gradient."""

    def loss(x):
        with jax.named_scope("Net"):
            with jax.named_scope("conv_1"):
                y = jax.lax.conv_general_dilated(data, x, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            with jax.named_scope("dense"):
                y = jnp.tanh(y.reshape(len(y), -1)) @ jnp.ones((y[0].size, 64))
            return jnp.sum(y**2)

    return State(state.x - 1e-6 * jax.grad(loss)(state.x), state.step + count), clock


def dispatch():
    return Dispatch(network_step, None)


def drive(run, calls):
    """The state after so many calls of 2 steps each."""
    state = State(jnp.full((3, 3, 8, 16), 0.1), jnp.zeros((), jnp.int32))
    data = jnp.linspace(0, 1, 4 * 16 * 16 * 8).reshape(4, 16, 16, 8)
    for _ in range(calls):
        state, _ = run(state, data, 2, 0.0)
    return state


class TestRecorder:
    def test_a_real_program(self, tmp_path):
        told = []
        recorder = profiling.Recorder(dispatch(), tmp_path / "profile", 3, told.append)
        state = drive(recorder, 7)
        assert jnp.array_equal(state.x, drive(dispatch(), 7).x)
        (folder,) = (tmp_path / "profile").iterdir()
        assert folder.name == "step_5"  # after two dispatches of two steps
        assert len(told) == 1
        words = told[0]
        assert words.startswith("where a step's time goes: 4 steps of ")  # whole dispatches
        assert (folder / "table.txt").read_text().strip() in words
        assert str(next(folder.glob("plugins/profile/*/perfetto_trace.json.gz"))) in words
        assert recorder.missing() == ""

    @pytest.mark.slow
    @pytest.mark.parametrize("loop", ["device", "host"])
    def test_its_operations(self, tmp_path, loop):
        """Of a program of all steps, and of one step; the second time it comes from the cache of compiled programs."""

        @jax.jit
        def one(state, metrics, data, rows, clock):
            return network_step(state, data, rows, 1, metrics)

        before = jax.config.jax_persistent_cache_min_compile_time_secs
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        try:
            for name in ("compiled", "kept"):
                jax.clear_caches()
                run = dispatch() if loop == "device" else Dispatch(one, None, lambda: jnp.zeros(()))
                drive(profiling.Recorder(run, tmp_path / name, 3, lambda words: None), 7)
                table = next((tmp_path / name).glob("*/table.txt")).read_text()
                lines = [line.split() for line in table.partition("the dearest parts")[2].splitlines()]
                assert ["forward", "convolution", "conv_1"] in [line[1:] for line in lines]
                assert ["backward", "convolution", "conv_1"] in [line[1:] for line in lines]
                assert ["matrix", "product", "dense"] in [line[2:] for line in lines]
        finally:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", before)

    def test_a_run_that_ends_before_it(self, tmp_path):
        told = []
        recorder = profiling.Recorder(dispatch(), tmp_path, 3, told.append)
        drive(recorder, profiling.WARM_UP)
        recorder.finish()
        recorder.close()
        assert told == []
        assert recorder.missing().startswith("nothing profiled")

    def test_a_milestone_ends_it_early(self, tmp_path):
        told = []
        recorder = profiling.Recorder(dispatch(), tmp_path, 100, told.append)
        drive(recorder, profiling.WARM_UP + 1)
        recorder.finish()
        assert told[0].startswith("where a step's time goes: 2 steps of ")

    def test_a_profiler_that_fails_does_not_end_the_run(self, tmp_path):
        (tmp_path / "file").write_text("")
        recorder = profiling.Recorder(dispatch(), tmp_path / "file", 3, print)
        with pytest.warns(UserWarning, match="the profile failed, the run goes on"):
            state = drive(recorder, 4)
        assert int(state.step) == 8

    def test_a_file_that_is_no_trace(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no trace in"):
            profiling.newest_trace(tmp_path)


@pytest.mark.slow
def test_a_profiled_run_has_the_same_numbers(tmp_path, tiny_config, capsys):
    tiny_config.training.steps, tiny_config.training.dispatch, tiny_config.training.log_every = 6, 1, 2

    def rows(folder):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{k: row[k] for k in ("step", "loss", "gradient_norm", "validation_loss") if k in row} for row in lines]

    train(tiny_config, tmp_path / "plain")
    train(tiny_config, tmp_path / "profiled", profile=2)
    assert rows(tmp_path / "profiled") == rows(tmp_path / "plain")
    words = (tmp_path / "profiled" / "profile" / "step_3" / "table.txt").read_text()
    assert words.startswith("where a step's time goes: 2 steps of ")
    assert words.strip() in capsys.readouterr().out
    assert not (tmp_path / "plain" / "profile").exists()
    logged = [json.loads(line) for line in (tmp_path / "plain" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["flops_per_second"] > 0 and "model_flops_utilisation" not in row for row in logged if "loss" in row)
    train(tiny_config, tmp_path / "profiled", profile=2)  # it has ended
    assert "nothing profiled" in capsys.readouterr().out
