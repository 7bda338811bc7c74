# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Compiled reader of numbers; `toolkit.io.boxes.parse` is the same in Python."""

import numpy as np

from libc.math cimport INFINITY, NAN
from libc.string cimport memchr

ctypedef unsigned long long uint64

cdef extern from *:
    """
    #include <float.h>
    #include <math.h>

    static const double TENS[] = {
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

    /* Find the double next to digits * 10^exponent; returns 0 if that takes more than the arithmetic here. */
    #if defined(__SIZEOF_INT128__) && FLT_EVAL_METHOD == 0
    static int nearest_double(unsigned long long digits, int exponent, double *value) {
        if (digits == 0) {
            *value = 0;
            return 1;
        }
        /* Two exact doubles: IEEE multiplication and division round correctly. */
        if (digits <= 1ULL << 53 && exponent >= -22 && exponent <= 22) {
            *value = exponent < 0 ? digits / TENS[-exponent] : digits * TENS[exponent];
            return 1;
        }
        if (exponent < -19 || exponent > 0)
            return 0;
        /* Divide integers, both with their top bit set: a quotient of 63 or 64 bits, whose last
           bit stands for all bits that follow, rounds as the exact quotient does. */
        unsigned long long divisor = 1, quotient;
        for (int i = exponent; i < 0; i++)
            divisor *= 10;
        int up = __builtin_clzll(digits), down = __builtin_clzll(divisor);
        unsigned __int128 dividend = (unsigned __int128)(digits << up) << 63;
        divisor <<= down;
        quotient = (unsigned long long)(dividend / divisor);
        quotient |= dividend != (unsigned __int128)quotient * divisor;
        *value = ldexp((double)quotient, down - up - 63);
        return 1;
    }
    #else
    static int nearest_double(unsigned long long digits, int exponent, double *value) {
        return 0;
    }
    #endif
    """
    bint nearest_double(uint64 digits, int exponent, double* value) nogil

cdef int MOST_DIGITS = 19  # that fit into 64 bits
cdef int LARGE = 100000  # an exponent beyond all doubles

# What follows a line, a line feed or the zero byte at the end of all bytes objects, is part of no
# number, so that no function here needs to know where its line ends.


cdef inline bint is_blank(char c) noexcept nogil:
    return c == b" " or c == b"\t" or c == b"\r"


cdef inline bint is_digit(char c) noexcept nogil:
    return b"0" <= c <= b"9"


cdef const char* after_word(const char* at, const char* word) noexcept nogil:
    """End of a lower-case word, whatever its case in the text, or NULL."""
    while word[0]:
        if (at[0] | 32) != word[0]:
            return NULL
        at += 1
        word += 1
    return at


cdef const char* read_word(const char* at, double* value) noexcept nogil:
    """Read nan, inf or infinity; returns where it ends, or NULL."""
    cdef const char* stop = after_word(at, b"infinity")
    value[0] = INFINITY
    if stop == NULL:
        stop = after_word(at, b"inf")
    if stop == NULL:
        value[0] = NAN
        stop = after_word(at, b"nan")
    return stop


cdef const char* read_exponent(const char* at, int* exponent) noexcept nogil:
    """Add what follows the letter e to the exponent; returns where it ends, or NULL."""
    cdef int size = 0
    cdef bint negative = at[0] == b"-"
    if negative or at[0] == b"+":
        at += 1
    if not is_digit(at[0]):
        return NULL
    while is_digit(at[0]):
        size = min(10 * size + (at[0] - c"0"), LARGE)
        at += 1
    exponent[0] += -size if negative else size
    return at


cdef inline const char* read_digits(const char* at, uint64* digits) noexcept nogil:
    """Append decimal digits to an integer, which may overflow; returns where they end."""
    while is_digit(at[0]):
        digits[0] = 10 * digits[0] + <uint64>(at[0] - c"0")
        at += 1
    return at


cdef const char* read_unsigned(const char* at, double* value, bint* known) noexcept nogil:
    """Read a decimal number without sign; see `read_number`."""
    cdef const char* start = at
    cdef const char* point
    cdef uint64 digits = 0
    cdef int exponent = 0
    cdef Py_ssize_t length
    at = point = read_digits(at, &digits)
    length = at - start
    if at[0] == b".":
        at = read_digits(at + 1, &digits)
        exponent = -<int>min(at - point - 1, LARGE)
        length += at - point - 1
    if length == 0:
        return NULL
    if (at[0] | 32) == b"e":
        at = read_exponent(at + 1, &exponent)
    known[0] = length <= MOST_DIGITS and nearest_double(digits, exponent, value)
    return at


cdef const char* read_number(const char* at, double* value, bint* known) noexcept nogil:
    """Read one number as Python's ``float`` does, without underscores.

    Returns where it ends, or NULL if there is none; ``known`` tells whether the value was found.
    """
    cdef bint negative = at[0] == b"-"
    cdef const char* stop
    if negative or at[0] == b"+":
        at += 1
    known[0] = True
    if is_digit(at[0]) or at[0] == b".":
        stop = read_unsigned(at, value, known)
    else:
        stop = read_word(at, value)
    if negative:
        value[0] = -value[0]
    return stop


cdef Py_ssize_t read_line(
    const char* at, const char* end, char separator, double* values
) except? -1:
    """Read all numbers of a line; returns how many, 0 if it holds anything else."""
    cdef Py_ssize_t count = 0
    cdef const char* stop
    cdef bint known
    while end > at and is_blank((end - 1)[0]):
        end -= 1
    while True:
        while at < end and is_blank(at[0]):
            at += 1
        if at == end:
            return 0
        stop = read_number(at, values + count, &known)
        if stop == NULL:
            return 0
        if not known:
            values[count] = float(at[:stop - at])
        count += 1
        if stop == end:
            return count
        at = stop
        while is_blank(at[0]):
            at += 1
        if separator == b",":
            if at[0] != b",":
                return 0
            at += 1
        elif at == stop:
            return 0


def parse(bytes data, bint commas):
    """See `toolkit.io.boxes.parse`."""
    cdef const char* at = data
    cdef const char* end = at + len(data)
    cdef const char* stop
    cdef Py_ssize_t num_lines = data.count(b"\n") + 1, line, count, total = 0
    values = np.empty(data.count(b",") + num_lines if commas else len(data) // 2 + 1)
    counts = np.empty(num_lines, np.int64)
    cdef double[::1] numbers = values
    cdef long long[::1] lengths = counts
    for line in range(num_lines):
        stop = <const char*>memchr(at, c"\n", end - at)
        if stop == NULL:
            stop = end
        count = read_line(at, stop, c"," if commas else c" ", &numbers[total])
        if count == 0:
            return line
        lengths[line] = count
        total += count
        at = stop + 1
    return values[:total].copy() if total < len(values) else values, counts
