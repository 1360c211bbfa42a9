"""Reading programs: by hand-written text whose counts are known, and by programs that XLA has just made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ddpm_jax.planning.hlo import Sent, Work, read, size

TEXT = """
HloModule jit_run, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %s = f32[] add(%a, f32[] %b)
}

%fused (p: bf16[8,4]) -> bf16[8,8] {
  %p = bf16[8,4]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %d = bf16[8,8]{1,0:T(8,128)(2,1)} convolution(%p, %p), dim_labels=bf_io->bf
}

%inner (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %t = (s32[], f32[4]{0}) parameter(0)
  %g = f32[4]{0:T(128)S(1)} get-tuple-element(%t), index=1
  %permuted = f32[4]{0} collective-permute(%g), source_target_pairs={{0,1},{1,0}}
  %f = bf16[8,8]{1,0} fusion(%g), kind=kOutput, calls=%fused, backend_config={"estimated_cycles":"50"}
  ROOT %o = (s32[], f32[4]{0}) tuple(%g, %permuted)
}

%body (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %t.1 = (s32[], f32[4]{0}) parameter(0)
  %loop = (s32[], f32[4]{0}) while(%t.1), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
  %sum = (f32[4]{0:T(128)}, f32[2,2]{1,0}) all-reduce(%a, %b), replica_groups=[2,4]<=[8], to_apply=%add
  %gather = (f32[2]{0}, f32[8]{0}) all-gather-start(%x), replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %done = f32[8]{0} all-gather-done(%gather)
  %parts = f32[4]{0} reduce-scatter(%y), replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%add
  %plain = f32[] fusion(%t.1), kind=kLoop, calls=%add, backend_config={"estimated_cycles":"7"}
  %told = f32[] custom-call(%t.1), custom_call_target="xla_python_cpu_callback"
  ROOT %o.1 = (s32[], f32[4]{0}) tuple(%a, %b)
}

ENTRY %main (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %t.2 = (s32[], f32[4]{0}) parameter(0)
  %before = f32[1000]{0} all-gather(%t.2), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
  ROOT %run = (s32[], f32[4]{0}) while(%t.2), condition=%cond, body=%body
}
"""


def test_the_body_of_the_loop_is_counted_once_and_loops_within_it_as_they_turn():
    found = read(TEXT, 8)
    assert found.loops == 1
    assert found.total.cycles == 3 * 50 + 7 and found.work["products"].cycles == 3 * 50
    assert found.products == {"bf16": 3}
    assert found.host == {"custom-call": 1}


def test_what_is_sent_by_kind_and_group():
    assert set(read(TEXT, 8).sent) == {
        Sent("all-reduce", 4, 1, 4.0 * (4 + 4)),
        Sent("all-gather", 4, 1, 4.0 * 8),  # the start's tuple has what goes in too
        Sent("reduce-scatter", 4, 1, 4.0 * 4 * 4),  # each device has a quarter
        Sent("collective-permute", 8, 3, 3.0 * 4 * 4),
    }


def test_groups_of_several_slices_are_told_apart():
    """Of two slices of four, the rows of a mesh lie within one, its columns cross."""
    for words, crosses in (("[2,4]<=[8]", False), ("[4,2]<=[2,4]T(1,0)", True), ("{{0,4},{1,5},{2,6},{3,7}}", True)):
        text = f"ENTRY %main (a: f32[4]) -> f32[4] {{\n  ROOT %r = f32[4] all-reduce(%a), replica_groups={words}\n}}"
        (sent,) = read(text, 8, slices=2).sent
        assert sent.crosses == crosses and sent.devices == (2 if crosses else 4)


def test_what_goes_to_another_slice_is_no_wait_for_the_host():
    text = """
ENTRY %main (a: f32[100]) -> f32[100] {
  %a = f32[100]{0} parameter(0)
  %t = token[] after-all()
  %s = (f32[100]{0}, u32[], token[]) send(%a, %t), is_host_transfer=true, frontend_attributes={KIND}
  %r = (f32[100]{0}, u32[], token[]) recv(%t), is_host_transfer=true, frontend_attributes={KIND}
  ROOT %d = f32[100]{0} get-tuple-element(%r), index=0
}
"""
    megascale = '_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_transfer_type="ALL_REDUCE"'
    between, to_host = (read(text.replace("KIND", kind), 8, slices=2) for kind in (megascale, 'x="y"'))
    assert between.sent == (Sent("all-reduce", 2, 1, 400.0, True),) and not between.host
    assert not to_host.sent and to_host.host == {"send": 1, "recv": 1}


def test_a_loop_turns_as_often_as_its_condition_says_where_the_compiler_does_not():
    condition = """
%cond (t: (s32[], f32[4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  %t.3 = (s32[]{:T(128)}, f32[4]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%t.3), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}
"""
    known = ', backend_config={"known_trip_count":{"n":"3"}}'
    assert known in TEXT
    assert read(TEXT.replace(known, "").replace("\n%body", condition + "\n%body"), 8).products == {"bf16": 5}


def test_all_of_a_program_has_each_turn_of_its_loops():
    assert read(TEXT, 8, turn=False).products == {"bf16": 3}  # the loop of unknown length counts once
    gathered = [one.devices for one in read(TEXT, 8, turn=False).sent if one.kind == "all-gather"]
    assert gathered == [4, 8]  # that before the loop too


@pytest.mark.parametrize(
    ("words", "bytes"),
    [
        ("f32[3,4]{1,0}", 48),
        ("(bf16[2,2]{1,0:T(8,128)(2,1)}, s32[], /*index=2*/pred[5]{0})", 8 + 4 + 5),
        ("s4[8]{0:T(1024)E(4)}", 4),
        ("token[]", 0),
    ],
)
def test_bytes_of_types(words, bytes):
    assert size(words) == bytes


def test_a_program_of_xlas():
    """Of a loop of unknown length, with one of five turns in it that has a product."""

    def run(x, n):
        def turn(_, x):
            return lax.scan(lambda x, _: (jnp.tanh(x @ x), None), x, None, length=5)[0]

        return lax.fori_loop(0, n, turn, x)

    text = jax.jit(run).lower(jnp.ones((64, 64)), 3).compile().as_text()
    found = read(text, 1)
    assert found.loops == 1 and not found.sent and not found.host
    assert found.host == {} and found.loops == 1


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        read("nothing", 1)
    assert np.isfinite(read("ENTRY %main (a: f32[]) -> f32[] {\n  ROOT %a = f32[] parameter(0)\n}", 1).total.cycles)


def accessed(function, *arguments, turn=False):
    text = jax.jit(function).lower(*arguments).compile().as_text()
    return read(text, 1, turn=turn)


def test_bytes_of_a_product_and_of_what_is_fused():
    a, b = jnp.ones((64, 128)), jnp.ones((128, 256))
    found = accessed(lambda a, b: a @ b, a, b)
    its = 4 * (64 * 128 + 128 * 256 + 64 * 256)
    assert found.total.accessed == found.work["products"].accessed == its
    fused = accessed(lambda a: jnp.tanh(a * 2 + 1) * a, a)
    assert fused.total == fused.work["elementwise"] == Work(1, 0.0, 2.0 * 4 * a.size)


def test_a_loop_reads_one_slice_of_its_weights_a_turn():
    """Of stacked weights all once, and not all in each turn; what is kept of each turn is written once."""
    weights, x = jnp.ones((50, 128, 128)), jnp.ones((8, 128))

    def function(x, weights):
        return lax.scan(lambda x, weight: (y := jnp.tanh(x @ weight), y), x, weights)

    found = accessed(function, x, weights)
    least = 4 * (weights.size + 50 * 8 * 128)
    assert (
        least < found.total.accessed < 6 * least
    )  # XLA copies a slice before its product; all of them would be 50 times


def test_what_lies_in_a_second_memory_and_a_workspace_is_not_counted():
    text = """
ENTRY %main (a: f32[100]) -> f32[100] {
  %a = f32[100]{0:T(128)S(1)} parameter(0)
  %b = f32[100]{0:T(128)} copy(%a)
  %c = (f32[100]{0}, s8[33554432]{0}) custom-call(%b), custom_call_target="__cublas$lt$matmul"
  ROOT %d = f32[100]{0} get-tuple-element(%c), index=0
}
"""
    found = read(text, 1)
    assert (
        found.work["copies"].accessed == 400
        and found.work["products"].accessed == 2 * 400
        and found.products == {"f32": 1}
    )
