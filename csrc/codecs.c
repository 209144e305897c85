/* The filters of PNG's rows, undone (PNG specification, third edition, section 9), and the codes of LZW, walked
 * (TIFF 6.0, section 13; GIF 89a, appendix F). See codecs.pyi.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { NONE, SUB, UP, AVERAGE, PAETH };

static inline uint8_t paeth(int left, int above, int corner) {
    const int to_left = abs(above - corner), to_above = abs(left - corner);
    const int to_corner = abs(left + above - 2 * corner);
    const int other = to_above <= to_corner ? above : corner;
    return (uint8_t)(to_left <= to_above && to_left <= to_corner ? left : other);
}

/* `step` is the bytes of a pixel, a constant where this is called, so that the loop over them unrolls. */
static inline void undo(int filter, const uint8_t *in, const uint8_t *above, uint8_t *out, Py_ssize_t length,
                        const Py_ssize_t step) {
    uint8_t left[8] = {0}, corner[8] = {0};
    for (Py_ssize_t x = 0; x < length; x += step)
        for (Py_ssize_t k = 0; k < step; k++) {
            const uint8_t up = above[x + k];
            uint8_t guess = 0;
            if (filter == SUB) guess = left[k];
            if (filter == AVERAGE) guess = (uint8_t)((left[k] + up) >> 1);
            if (filter == PAETH) guess = paeth(left[k], up, corner[k]);
            corner[k] = up;
            out[x + k] = left[k] = (uint8_t)(in[x + k] + guess);
        }
}

static void undo_row(int filter, const uint8_t *in, const uint8_t *above, uint8_t *out, Py_ssize_t length,
                     Py_ssize_t step) {
    if (filter == NONE) {
        memcpy(out, in, (size_t)length);
    } else if (filter == UP) {
        for (Py_ssize_t x = 0; x < length; x++) out[x] = (uint8_t)(in[x] + above[x]);
    } else {
#define UNDO(bytes)                                                                \
    case bytes:                                                                    \
        if (filter == SUB) undo(SUB, in, above, out, length, bytes);               \
        if (filter == AVERAGE) undo(AVERAGE, in, above, out, length, bytes);       \
        if (filter == PAETH) undo(PAETH, in, above, out, length, bytes);           \
        break;
        switch (step) { UNDO(1) UNDO(2) UNDO(3) UNDO(4) }
#undef UNDO
    }
}

static PyObject *unfilter(PyObject *self, PyObject *arguments) {
    Py_buffer in, out;
    Py_ssize_t length, step;
    if (!PyArg_ParseTuple(arguments, "y*w*nn", &in, &out, &length, &step)) return NULL;
    int fits = length > 0 && step >= 1 && step <= 4 && length % step == 0 && out.len % length == 0;
    const Py_ssize_t rows = fits ? out.len / length : 0;
    fits = fits && in.len == out.len + rows;
    int known = 1;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        uint8_t *zeros = calloc((size_t)length, 1);
        const uint8_t *above = zeros, *from = in.buf;
        uint8_t *to = out.buf;
        known = zeros == NULL ? -1 : 1;
        for (Py_ssize_t row = 0; row < rows && known == 1; row++, from += length + 1) {
            if (*from > PAETH) known = 0;
            else undo_row(*from, from + 1, above, to, length, step);
            above = to;
            to += length;
        }
        free(zeros);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&in);
    PyBuffer_Release(&out);
    if (known < 0) return PyErr_NoMemory();
    if (!fits || !known) {
        PyErr_SetString(PyExc_ValueError, fits ? "unknown filter of a row" : "sizes do not match");
        return NULL;
    }
    Py_RETURN_NONE;
}

enum { ENTRIES = 4096, WIDEST = 12 };

static PyObject *lzw_length(PyObject *self, PyObject *arguments) {
    Py_buffer in;
    Py_ssize_t least;
    int bits, tiff;
    if (!PyArg_ParseTuple(arguments, "y*ipn", &in, &bits, &tiff, &least)) return NULL;
    if (bits < 1 || bits > 8) {
        PyBuffer_Release(&in);
        return PyErr_Format(PyExc_ValueError, "codes of %d bits", bits);
    }
    const uint8_t *data = in.buf;
    Py_ssize_t size = 0, position = 0;
    int wrong = 0;
    Py_BEGIN_ALLOW_THREADS
    const uint32_t clear = 1u << bits;
    uint32_t lengths[ENTRIES] = {0}, entries = clear + 2, previous = 0, buffer = 0;
    int width = bits + 1, held = 0;
    for (uint32_t k = 0; k < clear; k++) lengths[k] = 1;
    while (size < least) {
        while (held < width && position < in.len) { /* at most 19 bits are held */
            buffer = tiff ? buffer << 8 | data[position] : buffer | (uint32_t)data[position] << held;
            position++;
            held += 8;
        }
        if (held < width) break;
        const uint32_t mask = (1u << width) - 1;
        const uint32_t code = (tiff ? buffer >> (held - width) : buffer) & mask;
        if (!tiff) buffer >>= width;
        held -= width;
        if (code == clear) {
            entries = clear + 2;
            width = bits + 1;
            previous = 0;
            continue;
        }
        if (code == clear + 1) break;
        if (previous > 0 && entries < ENTRIES) lengths[entries++] = previous + 1;
        wrong = code >= entries || (tiff && entries == ENTRIES);
        if (wrong) break;
        previous = lengths[code];
        size += previous;
        /* TIFF's codes grow one entry early. */
        if (width < WIDEST && entries + (tiff ? 1 : 0) == 1u << width) width++;
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&in);
    return Py_BuildValue("nO", size, wrong ? Py_True : Py_False);
}

static PyMethodDef functions[] = {
    {"lzw_length", lzw_length, METH_VARARGS, "Count what LZW's codes stand for; see codecs.pyi."},
    {"unfilter", unfilter, METH_VARARGS, "Undo the filters of a PNG's rows; see codecs.pyi."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "codecs",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_codecs(void) { return PyModuleDef_Init(&module); }
