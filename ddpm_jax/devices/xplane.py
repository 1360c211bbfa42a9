"""What a profiler's trace says of each operation: when it ran, what kind it is, which part of the network it is of.

`jax.profiler` reads the events of a trace. On CPUs they tell of an operation no more than its name and its program's;
kind, phase and path are in the program, of which JAX offers the text, `Compiled.as_text`, and no reader: a few patterns
take from its lines what matters. Traces hold programs too, but on CPUs none that came from JAX's compilation cache.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

CONVOLUTION, PRODUCT, COLLECTIVE, REDUCTION = "convolution", "matrix product", "collective", "reduction"
ELEMENTWISE, MOVEMENT, OTHER, CONTROL = "elementwise", "data movement", "other", "control"
KINDS = (CONVOLUTION, PRODUCT, COLLECTIVE, REDUCTION, ELEMENTWISE, MOVEMENT, OTHER)
"""The kinds that are shown. A fusion of several is of the first that it holds. CONTROL is loops, whose bodies count."""

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
PHASES = (FORWARD, BACKWARD, UPDATE)
"""Forward pass; its gradient; and the rest of a step: drawing the batch, the optimizer, averages."""

_OPCODES = {
    CONVOLUTION: {"convolution"},
    PRODUCT: {"dot", "ragged-dot", "scaled-dot", "cholesky", "triangular-solve"},
    COLLECTIVE: {
        *("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "collective-broadcast"),
        *("ragged-all-to-all", "partition-id", "replica-id", "send", "recv"),
    },
    REDUCTION: {"reduce", "reduce-window", "select-and-scatter", "sort", "topk"},
    MOVEMENT: {
        *("copy", "transpose", "reshape", "bitcast", "bitcast-convert", "broadcast", "concatenate", "pad", "reverse"),
        *("slice", "dynamic-slice", "dynamic-update-slice", "gather", "scatter", "tuple", "get-tuple-element"),
        *("parameter", "constant", "iota", "infeed", "outfeed"),
    },
    CONTROL: {"while", "conditional", "call"},
    OTHER: {"custom-call", "rng", "rng-bit-generator", "fft"},
}
_LIBRARY_CALLS = ((CONVOLUTION, ("conv",)), (PRODUCT, ("gemm", "matmul", "fmha", "attention", "dot")))
_PAIRED = re.compile("-(start|update|done)$")  # of an operation that runs beside others


@dataclass(frozen=True)
class Operation:
    """An operation of a compiled program.

    Attributes:
        name: the compiler's, unique in its program.
        kind: one of `KINDS`, or CONTROL.
        phase: one of `PHASES`.
        path: the part of the network, such as "up_0_0/conv_1"; "" outside the network, or where the compiler lost it.
        words: for a reader where there is no path: the primitive, or the name and the result's shape.
    """

    name: str
    kind: str
    phase: str
    path: str
    words: str


@dataclass(frozen=True)
class Event:
    """A run of an operation on a device, from `start` to `end` in nanoseconds of the trace."""

    device: str
    operation: Operation
    start: float
    end: float


class Instruction(NamedTuple):
    """A line of a program's text, `name = shape opcode(operands), more`."""

    name: str
    shape: str
    opcode: str
    operands: str
    more: str

    def said(self, attribute: str) -> str:
        """What `more` has between quotes for an attribute, "" for none."""
        found = re.search(rf'\b{attribute}="([^"]*)"', self.more)
        return found[1] if found else ""


_INSTRUCTION = re.compile(r" +(?:ROOT )?%?([\w.-]+) = (.+?) ([a-z][a-z0-9-]*)\((.*?)\)(.*)")
_COMPUTATION = re.compile(r"(?:ENTRY )?%?([\w.-]+) .*\{$")
_CALLED = re.compile(r"\bcalls=%?([\w.-]+)")
_LAYOUT = re.compile(r"\{.*?\}|/\*.*?\*/")


def read(file: Path, program: str) -> list[Event]:
    """The operations that ran while the trace was recorded, control flow left out.

    On a CPU an operation may go on in other threads after it has left its own; it lasts until its result is there.

    Args:
        file: the trace.
        program: the text of the compiled program that ran. Of others' operations only the names are known.

    Raises:
        RuntimeError: the file is not a trace.
    """
    from jax.profiler import ProfileData

    module = program.partition(",")[0].removeprefix("HloModule ")
    found, ends = [], {}
    for plane in ProfileData.from_file(str(file)).planes:
        lines = list(plane.lines)
        on_device = plane.name.startswith("/device:")
        if any(line.name == "XLA Ops" for line in lines):  # a TPU's; its other lines sum these up
            lines = [line for line in lines if line.name == "XLA Ops"]
        for line in lines:
            for event in line.events:
                stats = dict(event.stats)
                end = event.start_ns + event.duration_ns
                if event.name.startswith("end: "):
                    ends[stats.get("_c")] = end
                elif "hlo_op" in stats or on_device:
                    name = str(stats.get("hlo_op") or event.name.split(" ")[0].lstrip("%"))
                    device = plane.name if on_device else f"{plane.name}:{stats.get('device_ordinal', 0)}"
                    ours = str(stats.get("hlo_module", module)).startswith(module)
                    found.append((device, name if ours else "", event.name, event.start_ns, end, stats.get("_p")))
    known = operations(program, {row[1] for row in found})
    events = []
    for device, name, text, start, end, thread in found:
        operation = known.get(name) or unknown(text)
        if operation.kind != CONTROL:
            events.append(Event(device, operation, start, max(end, ends.get(thread, end))))
    return events


def unknown(text: str) -> Operation:
    """An operation that the program does not name, such as a copy between host and device."""
    kind = MOVEMENT if text.lower().startswith(("memcpy", "memset", "copy")) else OTHER
    return Operation(text, kind, UPDATE, "", text[:60])


def operations(program: str, names: set[str]) -> dict[str, Operation]:
    """Those of a compiled program, given by its text, that have such names."""
    computations: dict[str, list[Instruction]] = {}
    inside: list[Instruction] = []
    for line in program.splitlines():
        if found := _INSTRUCTION.match(line):
            inside.append(Instruction(*found.groups()))
        elif found := _COMPUTATION.match(line):
            inside = computations[found[1]] = []
    instructions = {instruction.name: instruction for inside in computations.values() for instruction in inside}

    def kinds(instruction: Instruction) -> set[str]:
        if instruction.opcode == "fusion" or instruction.opcode.startswith("async"):
            called = _CALLED.search(instruction.more)
            return {kind for part in computations.get(called[1], []) for kind in kinds(part)} if called else set()
        return {kind_of(instruction.opcode, instruction.said("custom_call_target"))}

    def phase(instruction: Instruction, depth: int = 8) -> str:
        """That of its name; where the compiler lost it, the latest of what it was computed from."""
        op_name = instruction.said("op_name")
        if op_name or not depth:
            return place_of(op_name)[0]
        operands = [instructions[name] for name in re.findall(r"[\w.-]+", instruction.operands) if name in instructions]
        found = {phase(operand, depth - 1) for operand in operands}
        return next((phase for phase in (BACKWARD, FORWARD) if phase in found), UPDATE)

    chosen = {}
    for name in names & instructions.keys():
        instruction = instructions[name]
        held = kinds(instruction)
        kind = next((kind for kind in (*KINDS, CONTROL) if kind in held), OTHER)
        _, path, primitive = place_of(instruction.said("op_name"))
        words = primitive or f"{name} {_LAYOUT.sub('', instruction.shape)}"[:60]
        chosen[name] = Operation(name, kind, phase(instruction), path, words)
    return chosen


def kind_of(opcode: str, target: str = "") -> str:
    """The kind of a single HLO operation; `target` is the library's function that a custom call calls."""
    opcode = _PAIRED.sub("", opcode)
    if opcode == "custom-call":
        for kind, words in _LIBRARY_CALLS:
            if any(word in target.lower() for word in words):
                return kind
    return next((kind for kind, opcodes in _OPCODES.items() if opcode in opcodes), ELEMENTWISE)


def place_of(op_name: str) -> tuple[str, str, str]:
    """Phase, path in the network and primitive of a JAX operation's name.

    >>> place_of("jit(step)/transpose(jvp(UNet))/up_0_0/conv_1/conv_general_dilated")
    ('backward', 'up_0_0/conv_1', 'conv_general_dilated')
    >>> place_of("jit(call)/call_exported/jit(step)/jvp(UNet)/conv_1/branch_0_fun/dot_general")
    ('forward', 'conv_1', 'dot_general')
    """
    *scopes, primitive = op_name.split("/")
    phase = BACKWARD if "transpose(" in op_name else FORWARD if "jvp(" in op_name else UPDATE
    path, in_network = [], False
    for scope in scopes:
        wrapped = re.fullmatch(r"(\w+)\((.*)\)", scope)
        if not wrapped:
            path.append(scope)
        in_network = in_network or bool(wrapped and re.search(r"jvp\(\w+\)", scope))
    return (
        phase,
        "/".join(part for part in path if not _WRAPPERS.fullmatch(part)) if in_network else "",
        primitive.strip("()"),
    )


_WRAPPERS = re.compile(
    r"while|body|cond|branch_\d+_fun|closed_call|call_exported|checkpoint|rematted_computation|remat|shard_map"
)
