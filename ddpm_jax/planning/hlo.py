"""What a compiled program does, read off its text (HLO): what it sends to other devices and to the host, its cycles.

A dispatch is one loop over training steps, a chain of samples one over its steps: the body of the longest outermost
loop is counted once, loops within it as often as the compiler says that they turn.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

BYTES = {
    "pred": 1,
    "s4": 0.5,
    "u4": 0.5,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "s32": 4,
    "u32": 4,
    "s64": 8,
    "u64": 8,
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
    "c64": 8,
    "f8e4m3fn": 1,
    "f8e5m2": 1,
}
"""Of a value, by its type's name; others, such as tokens, have none."""

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
PRODUCTS = ("dot", "convolution")
HOST = ("infeed", "outfeed", "send", "recv")
LIBRARIES = ('"__cublas$', '"__cudnn$')
"""What starts the names of matrix products and convolutions of NVIDIA's libraries."""

FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all")
"""Operations that themselves move nothing."""
TAKES = ("slice", "dynamic-slice", "gather")
MOVES = (*TAKES, "copy", "copy-start", "transpose", "reshape", "concatenate", "pad", "broadcast", "reverse", "scatter")
MOVES = (*MOVES, "dynamic-update-slice", "iota", "convert", "slice-start")
KINDS = ("products", "reductions", "copies", "elementwise")
"""Of what is fused: it has a matrix product or a convolution, else a reduction, else only moves and converts."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z\d\-]*)\((.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z\d]*)\[([\d,]*)\]")
_TRANSFER = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
"""Of a TPU's program: what it sends to other slices goes out by its host, which no one waits for."""
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.\-]+)"
)


@dataclass(frozen=True)
class Sent:
    """Collective operations of one kind, over groups of one size.

    Attributes:
        kind: of `COLLECTIVES`.
        devices: of a group.
        crosses: whether a group has devices of several slices.
        count: how many a step.
        bytes: of their results, on one device, a step; of a reduce-scatter of all its parts.
    """

    kind: str
    devices: int
    count: int
    bytes: float
    crosses: bool = False


@dataclass(frozen=True)
class Work:
    """Operations of one kind; what is fused together is one.

    Attributes:
        operations: that are started.
        cycles: the compiler's own estimate, summed; 0 where it gives none.
        accessed: bytes of the device's memory that they read and write: arguments and results, of slices and gathers
            what they take.
    """

    operations: int = 0
    cycles: float = 0.0
    accessed: float = 0.0


@dataclass(frozen=True)
class Program:
    """What one turn of a program's outermost loop does, or all of a program without one.

    Attributes:
        sent: to other devices.
        host: operations that wait for the host, by name.
        loops: how many outermost ones there are.
        products: matrix products and convolutions, by the type of their result.
        work: what it does itself, by `KINDS`.
    """

    sent: tuple[Sent, ...] = ()
    host: Mapping[str, int] = field(default_factory=dict)
    loops: int = 0
    products: Mapping[str, int] = field(default_factory=dict)
    work: Mapping[str, Work] = field(default_factory=dict)

    @property
    def total(self) -> Work:
        """Of all kinds."""
        operations = sum(one.operations for one in self.work.values())
        cycles, accessed = (
            sum((getattr(one, name) for one in self.work.values()), 0.0) for name in ("cycles", "accessed")
        )
        return Work(operations, cycles, accessed)


@dataclass(frozen=True)
class _Instruction:
    name: str
    type: str
    operation: str
    rest: str
    taken: "tuple[_Instruction, ...]" = ()

    @property
    def called(self) -> list[str]:
        """The computations that it names."""
        found = [name for words in _CALLED.findall(self.rest) for name in words.strip("{}").split(",")]
        return [name.strip().lstrip("%") for name in found if name.strip()]

    @property
    def product(self) -> str | None:
        """The type of its result, where it is a matrix product or a convolution, by a library of the vendor's too."""
        library = self.operation == "custom-call" and any(word in self.rest for word in LIBRARIES)
        found = _ARRAY.search(self.type) if library or self.operation in PRODUCTS else None
        return None if found is None else found[1]


def read(text: str, devices: int, slices: int = 1, turn: bool = True) -> Program:
    """What the program of this text does.

    Args:
        text: of the program.
        devices: it runs on; those of a slice have numbers in a row.
        slices: they are of.
        turn: count one turn of its longest loop; else all of it.
    """
    computations, entry = _computations(text)
    loops = [_named(one.rest, "body") for one in computations[entry].values() if one.operation == "while"]
    longest = max(loops, key=lambda body: len(_all(computations, body, 1)), default=entry)
    start = longest if turn else entry
    total: dict[tuple[str, int, bool], list[float]] = {}
    host: dict[str, int] = {}
    products: dict[str, int] = {}
    work = {kind: Work() for kind in KINDS}
    for times, inside, one in _all(computations, start, 1):
        kind, between = one.operation.removesuffix("-start"), _TRANSFER.search(one.rest)
        if kind in COLLECTIVES or (kind == "send" and between is not None):
            members = _group(one.rest, devices)
            group, crosses = len(members), len({member * slices // devices for member in members}) > 1
            sends, moved = kind, 0.0
            if between is not None:
                sends, group, crosses = between[1].lower().replace("_", "-"), slices, True
                moved = size(one.taken[0].type)
            kept = total.setdefault((sends, group, crosses), [0, 0.0])
            kept[0] += times
            kept[1] += times * (moved or _moved(one, kind, group))
        if (kind in HOST and between is None) or "callback" in one.rest:
            host[one.operation] = host.get(one.operation, 0) + times
        if (of := one.product) is not None:
            products[of] = products.get(of, 0) + times
        if not inside and one.operation not in FREE and kind not in COLLECTIVES and not kind.endswith("-done"):
            cycles = re.search(r'"estimated_cycles":"(\d+)"', one.rest)
            its, known = _kind(one, _fused(computations, one)), float(cycles[1]) if cycles else 0.0
            done = work[its]
            moved = done.accessed + times * _accessed(computations, one)
            work[its] = Work(done.operations + times, done.cycles + times * known, moved)
    sent = tuple(
        Sent(kind, group, int(count), size, crosses) for (kind, group, crosses), (count, size) in sorted(total.items())
    )
    return Program(sent, host, len(loops), products, work)


def _kind(one: _Instruction, inner: Sequence[_Instruction]) -> str:
    """Of `KINDS`."""
    each = [one, *inner]
    if any(it.product for it in each):
        return "products"
    if any(it.operation in ("reduce", "reduce-window") for it in each):
        return "reductions"
    return "copies" if all(it.operation in (*FREE, *MOVES, "fusion") for it in each) else "elementwise"


def size(words: str) -> float:
    """Bytes of all arrays of a type, `(f32[3,4]{1,0}, s32[])`."""
    total = sum(
        BYTES.get(kind, 0) * math.prod(int(length) for length in sizes.split(",") if length)
        for kind, sizes in _ARRAY.findall(re.sub(r"\{[^{}]*\}", "", words))
    )
    return float(total)


def _computations(text: str) -> "tuple[dict[str, dict[str, _Instruction]], str]":
    """The instructions of each computation, and the name of the first to run."""
    found: dict[str, dict[str, _Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if (head := _COMPUTATION.match(line)) is not None:
            current = found.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif current is not None and (match := _INSTRUCTION.match(line)) is not None:
            rest = match[4]
            names = _NAME.findall(rest[: rest.find("), ")] if "), " in rest else rest)  # operands come first
            taken = tuple(current[name] for name in names if name in current)
            current[match[1]] = _Instruction(match[1], match[2], match[3], rest, taken)
    if not entry:
        raise ValueError("this is no program's text: it has no ENTRY")
    return found, entry


def _named(rest: str, attribute: str) -> str:
    found = re.search(rf"\b{attribute}=%?([\w.\-]+)", rest)
    assert found is not None
    return found[1]


Computations = Mapping[str, dict[str, _Instruction]]


def _all(
    computations: Computations, name: str, times: int, inside: bool = False
) -> "list[tuple[int, bool, _Instruction]]":
    """The instructions of a computation and of those that it calls: how often each runs, whether within one kernel."""
    found = []
    for one in computations.get(name, {}).values():
        found.append((times, inside, one))
        kernel = inside or one.operation not in ("while", "call", "async-start")
        if one.operation == "conditional":  # one of its branches runs: the longest stands for it
            branches = [_all(computations, branch, times, inside) for branch in one.called]
            found += max(branches, key=len, default=[])
        elif one.operation not in ("all-reduce", "reduce-scatter", "reduce", "sort", "scatter", "map"):
            for called in one.called:
                found += _all(
                    computations, called, times * (_turns(computations, one) if one.operation == "while" else 1), kernel
                )
    return found


def _turns(computations: Computations, loop: _Instruction) -> int:
    """How often a loop turns: as the compiler says, or as its condition does, that counts from 0; else once."""
    if (known := re.search(r'"known_trip_count":\{"n":"?(\d+)', loop.rest)) is not None:
        return int(known[1])
    condition = list(computations.get(_named(loop.rest, "condition"), {}).values())
    if condition and condition[-1].operation == "compare" and "direction=LT" in condition[-1].rest:
        limits = [it.rest.partition(")")[0] for it in condition[-1].taken if it.operation == "constant"]
        return next((int(limit) for limit in limits if limit.isdecimal()), 1)
    return 1


def _fused(computations: Computations, one: _Instruction) -> list[_Instruction]:
    """What is fused into an instruction."""
    if one.operation not in ("fusion", "custom-call"):
        return []
    return [inner for name in one.called for inner in computations.get(name, {}).values()]


def _accessed(computations: Computations, one: _Instruction) -> float:
    """Bytes that an operation reads and writes; of an array that it only takes slices of, or puts one in, those."""
    if one.operation in TAKES:
        return 2 * _held(one.type)
    if one.operation == "dynamic-update-slice":
        return 2 * _held(one.taken[1].type)
    inner = _fused(computations, one)
    written, total = _held(one.type), 0.0
    parameters = {int(it.rest.partition(")")[0]): it for it in inner if it.operation == "parameter"}
    for number, whole in enumerate(one.taken):
        within = _uses(parameters[number], inner) if number in parameters else []
        if within and all(it.operation in TAKES or _updates(it, whole) for it in within):
            total += sum(size(it.type) for it in within if it.operation in TAKES)
            if any(_updates(it, whole) for it in within):  # in place: what is put in is read elsewhere and written
                written -= size(whole.type) - sum(size(it.taken[1].type) for it in within if _updates(it, whole))
        else:
            total += _held(whole.type)
    return total + max(written, 0.0)


def _held(words: str) -> float:
    """Bytes of a type's arrays in the device's main memory: not in a TPU's other ones, nor a library's workspace."""
    return size(re.sub(r"\w+\[[\d,]*\]\{[^{}]*S\(\d+\)[^{}]*\}|\b[su]8\[\d+\]\{0\}\)$", "", words))


def _uses(one: _Instruction, inner: list[_Instruction]) -> list[_Instruction]:
    """What takes a result, those that take it in a mere change of shape too."""
    uses = [it for it in inner if one in it.taken]
    return [use for it in uses for use in (_uses(it, inner) if it.operation == "bitcast" else [it])]


def _updates(one: _Instruction, whole: _Instruction) -> bool:
    return one.operation == "dynamic-update-slice" and size(one.type) == size(whole.type)


def _group(rest: str, devices: int) -> list[int]:
    """The devices of the first of an instruction's groups."""
    everyone = np.arange(devices)
    if (mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest)) is not None:
        axes, inside = re.findall(r"'(\w+)'=(\d+)", mesh[1]), re.findall(r"'(\w+)'", mesh[2])
        numbers = everyone.reshape([int(length) for _, length in axes])
        return numbers[tuple(slice(None) if name in inside else 0 for name, _ in axes)].ravel().tolist()
    if (grid := re.search(r"replica_groups=\[(\d+),\d+\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", rest)) is not None:
        numbers = everyone.reshape([int(length) for length in grid[2].split(",")])
        numbers = numbers.transpose([int(axis) for axis in grid[3].split(",")]) if grid[3] else numbers
        return numbers.reshape(int(grid[1]), -1)[0].tolist()
    if (first := re.search(r"replica_groups=\{\{([\d,]+)\}", rest)) is not None:
        return [int(member) for member in first[1].split(",")]
    return everyone.tolist()


def _moved(one: _Instruction, kind: str, group: int) -> float:
    """Bytes of what a collective gives, whole."""
    total = size(one.type)
    if one.operation.endswith("-start") and kind != "all-reduce":  # the tuple has what goes in too
        shares = group if kind in ("all-gather", "reduce-scatter") else 1
        return total * shares / (shares + 1)
    return total * group if kind == "reduce-scatter" else total
