"""What a profiler's trace says of each operation: when it ran, what kind it is, which part of the network it is of.

An `.xplane.pb` file holds the events of every device, and the compiled programs (HLO) that ran. `jax.profiler` reads
the events, but not the programs; they are read here straight from the protocol-buffer bytes, of which a few fields
matter (xla/tsl/profiler/protobuf/xplane.proto, xla/service/hlo.proto).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, no_type_check

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
    """What is read of an HLO instruction."""

    number: int
    name: str
    opcode: str
    op_name: str
    target: str
    shape: str
    operands: tuple[int, ...]
    called: tuple[int, ...]


def read(file: Path) -> list[Event]:
    """The operations that ran while the trace was recorded, control flow left out.

    On a CPU an operation may go on in other threads after it has left its own; it lasts until its result is there.

    Raises:
        RuntimeError: the file is not a trace.
    """
    from jax.profiler import ProfileData

    content = file.read_bytes()
    found, ends = [], {}
    for plane in ProfileData.from_serialized_xspace(content).planes:
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
                    program = str(stats.get("program_id", ""))
                    found.append((device, program, name, event.name, event.start_ns, end, stats.get("_p")))
    programs = read_programs(content, {row[1] for row in found}, {row[2] for row in found})
    anywhere = {name: operation for program in programs.values() for name, operation in program.items()}
    events = []
    for device, program, name, text, start, end, thread in found:
        operation = programs.get(program, anywhere).get(name) or unknown(text)
        if operation.kind != CONTROL:
            events.append(Event(device, operation, start, max(end, ends.get(thread, end))))
    return events


def unknown(text: str) -> Operation:
    """An operation of a device that no program names, such as a copy between host and device."""
    kind = MOVEMENT if text.lower().startswith(("memcpy", "memset")) else OTHER
    return Operation(text, kind, UPDATE, "", text[:60])


@no_type_check  # this function and those below: called for each of a million fields
def read_programs(content: bytes, ran: set[str], names: set[str]) -> dict[str, dict[str, Operation]]:
    """The named operations of the compiled programs in a trace that ran, by the program's number as text.

    All programs are read if `ran` holds "", which stands for one that is not known.
    """
    programs = {}
    for plane in _parts(memoryview(content), 1):
        if _text(_first(plane, 2)) != "/host:metadata":
            continue
        for entry in _parts(plane, 4):
            program = _first(entry, 2)
            title = _text(_first(program, 2))
            number = title[title.rfind("(") + 1 : -1]
            if number not in ran and "" not in ran:
                continue
            for stat in _parts(program, 5):
                for proto in _parts(stat, 6):
                    for module in _parts(proto, 1):
                        programs[number] = _operations(module, names)
    return programs


@no_type_check
def _operations(module: memoryview, names: set[str]) -> dict[str, Operation]:
    computations, instructions = {}, {}
    for computation in _parts(module, 3):
        inside = [_instruction(part) for part in _parts(computation, 2)]
        computations[_first(computation, 5)] = inside
        instructions |= {instruction.number: instruction for instruction in inside}

    def kinds(instruction: Instruction) -> set[str]:
        if instruction.opcode == "fusion" or instruction.opcode.startswith("async"):
            inside = [part for number in instruction.called for part in computations.get(number, [])]
            return {kind for part in inside for kind in kinds(part)}
        return {kind_of(instruction.opcode, instruction.target)}

    def phase(instruction: Instruction, depth: int = 8) -> str:
        """That of its name; where the compiler lost it, the latest of what it was computed from."""
        if instruction.op_name or not depth:
            return place_of(instruction.op_name)[0]
        operands = [instructions[number] for number in instruction.operands if number in instructions]
        found = {phase(operand, depth - 1) for operand in operands}
        return next((phase for phase in (BACKWARD, FORWARD) if phase in found), UPDATE)

    operations = {}
    for instruction in instructions.values():
        if instruction.name not in names:
            continue
        held = kinds(instruction)
        kind = next((kind for kind in (*KINDS, CONTROL) if kind in held), OTHER)
        _, path, primitive = place_of(instruction.op_name)
        words = primitive or f"{instruction.name} {instruction.shape}"
        operations[instruction.name] = Operation(instruction.name, kind, phase(instruction), path, words)
    return operations


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
    """
    *scopes, primitive = op_name.split("/")
    phase = BACKWARD if "transpose(" in op_name else FORWARD if "jvp(" in op_name else UPDATE
    path, in_network = [], False
    for scope in scopes:
        wrapped = re.fullmatch(r"(\w+)\((.*)\)", scope)
        if not wrapped:
            path.append(scope)
        in_network = in_network or bool(wrapped and re.search(r"jvp\(\w+\)", scope))
    return phase, "/".join(part for part in path if part not in _WRAPPERS) if in_network else "", primitive.strip("()")


_WRAPPERS = {"while", "body", "cond", "closed_call", "checkpoint", "rematted_computation", "remat", "shard_map"}


@no_type_check
def _instruction(part: memoryview) -> Instruction:
    values: dict[int, list] = {}
    for field, value in _fields(part):
        values.setdefault(field, []).append(value)

    def text(field: int) -> str:
        return _text(values.get(field, [b""])[0])

    op_name = "".join(_text(name) for metadata in values.get(7, []) for name in _parts(metadata, 2))
    return Instruction(
        number=values.get(35, [0])[0],
        name=text(1),
        opcode=text(2),
        op_name=op_name,
        target=text(28),
        shape="".join(_shape(shape) for shape in values.get(3, [])),
        operands=_numbers(values.get(36, [])),
        called=_numbers(values.get(38, [])),
    )


@no_type_check
def _shape(part: memoryview) -> str:
    return str(list(_numbers([value for field, value in _fields(part) if field == 3]))).replace(" ", "")


@no_type_check
def _numbers(values: list) -> tuple[int, ...]:
    """Repeated integers, packed in bytes or one by one."""
    numbers: list[int] = []
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            numbers.append(number)
    return tuple(numbers)


@no_type_check
def _text(value: memoryview | bytes | int | None) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, (memoryview, bytes)) else ""


@no_type_check
def _first(part: memoryview | int | None, field: int) -> memoryview | int | None:
    return next((value for number, value in _fields(part) if number == field), None)


@no_type_check
def _parts(part: memoryview | int | None, field: int) -> Iterator[memoryview]:
    return (value for number, value in _fields(part) if number == field and isinstance(value, memoryview))


@no_type_check
def _fields(part: memoryview | int | None) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a protocol-buffer message: number, and an integer or the bytes of what has a length."""
    place = 0
    while isinstance(part, memoryview) and place < len(part):
        key, place = _varint(part, place)
        if key & 7 == 0:
            value, place = _varint(part, place)
        else:
            length, place = _varint(part, place) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], place)
            value, place = part[place : place + length], place + length
        yield key >> 3, value


@no_type_check
def _varint(part: memoryview, place: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = part[place]
        number |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return number, place
