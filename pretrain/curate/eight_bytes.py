"""Eight bytes of a text at once: what lets the kernels walk plain text by words, not by bytes.

    load(data, i)          bytes i .. i+7 as one integer, the first the lowest; i may be any place
    letters(eight)         0x80 in each of the eight bytes that is no letter A-Z or a-z
    n_before(marks)        how many whole bytes lie before the lowest set bit
    first_bytes(n)         a mask of the first n bytes
    fetch(numbers, place)  asks the memory for a number that will be needed soon

The caller sees to it that all eight bytes lie in the buffer. Needs a machine whose lowest byte
comes first (x86-64, ARM64), as Arrow's own buffers do.
"""

# mypy: disable-error-code="no-untyped-def"

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pretrain.curate.compiled import kernel

_ONE = np.uint64(1)
_HIGH = np.uint64(0x8080808080808080)
_SMALL = np.uint64(0x2020202020202020)
_LOW7 = np.uint64(0x7F7F7F7F7F7F7F7F)
_FROM_A = np.uint64(0x1F1F1F1F1F1F1F1F)  # 0x80 - 'a': carries into the high bit from 'a' on
_AFTER_Z = np.uint64(0x0505050505050505)  # 0x80 - 'z' - 1


@intrinsic
def load(typingctx, data, i):
    signature = types.uint64(data, types.int64)

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        whole = builder.bitcast(place, ir.IntType(64).as_pointer())
        return builder.load(whole, align=1)

    return signature, generate


@intrinsic
def _trailing_zeros(typingctx, value):
    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic
def fetch(typingctx, numbers, place):
    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = builder.gep(array.data, [arguments[1]])
        wide, whole = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [whole, wide, wide, wide])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0"
        )
        flags = [ir.Constant(wide, n) for n in (1, 3, 1)]  # to write, keep it near, data
        builder.call(function, [builder.bitcast(pointer, whole), *flags])
        return context.get_dummy_value()

    return types.void(numbers, types.int64), generate


@kernel(inline="always")
def other_than_letters(eight):
    """0x80 in each byte that is no ASCII letter."""
    small = (eight | _SMALL) & _LOW7
    letters = (small + _FROM_A) & ~(small + _AFTER_Z) & ~eight
    return ~letters & _HIGH


@kernel(inline="always")
def n_before(marks):
    """Whole bytes before the lowest set bit; 8 if none is set."""
    return np.int64(_trailing_zeros(marks) >> np.uint64(3))


@kernel(inline="always")
def first_bytes(n_bytes):
    """A mask of the first n of eight bytes, n from 0 to 7."""
    return (_ONE << (np.uint64(n_bytes) << np.uint64(3))) - _ONE
