/* The kernels as a Python module, which checks their arguments and releases the interpreter's lock. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"

/* The two images of a call, and the buffers to release after it. */
typedef struct {
    Py_buffer buffers[2];
    Image from, to;
} Call;

static int open_image(PyObject *object, int writable, Py_buffer *buffer, Image *image) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)))
        return -1;
    if (buffer->ndim != 3 || buffer->itemsize != 1 || strcmp(buffer->format, "B") != 0 ||
        buffer->shape[2] != 3 || buffer->strides[2] != 1 || buffer->shape[0] < 1 ||
        buffer->shape[1] < 1 || (buffer->strides[1] != 3 && buffer->shape[1] > 1)) {
        PyErr_SetString(PyExc_ValueError, "uint8 (H, W, 3) is wanted, of pixels that lie side by side");
        PyBuffer_Release(buffer);
        return -1;
    }
    *image = (Image){buffer->buf, buffer->strides[0], buffer->shape[0], buffer->shape[1]};
    return 0;
}

static void close_call(Call *call) {
    PyBuffer_Release(&call->buffers[0]);
    PyBuffer_Release(&call->buffers[1]);
}

static int open_call(PyObject *const *args, Py_ssize_t given, Py_ssize_t wanted, int resizes, Call *call) {
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%zd arguments are wanted, %zd were given", wanted, given);
        return -1;
    }
    if (open_image(args[0], 0, &call->buffers[0], &call->from)) return -1;
    if (open_image(args[1], 1, &call->buffers[1], &call->to)) {
        PyBuffer_Release(&call->buffers[0]);
        return -1;
    }
    if (!resizes && (call->from.height != call->to.height || call->from.width != call->to.width)) {
        PyErr_SetString(PyExc_ValueError, "image and result differ in size");
        close_call(call);
        return -1;
    }
    return 0;
}

/* `count` contiguous numbers of one type, in the memory of the object itself. */
static const void *numbers_of(PyObject *object, const char *format, Py_ssize_t count, Py_buffer *buffer) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) return NULL;
    if (strcmp(buffer->format, format) == 0 && (count < 0 || buffer->len / buffer->itemsize == count))
        return buffer->buf;
    if (count < 0)
        PyErr_Format(PyExc_ValueError, "numbers of type '%s' are wanted", format);
    else
        PyErr_Format(PyExc_ValueError, "%zd numbers of type '%s' are wanted", count, format);
    PyBuffer_Release(buffer);
    return NULL;
}

/* Read a number from `low` to `high`. */
static int number_of(PyObject *object, double low, double high, double *number) {
    *number = PyFloat_AsDouble(object);
    if (PyErr_Occurred()) return -1;
    if (*number >= low && *number <= high) return 0;
    PyErr_Format(PyExc_ValueError, "a number of %d to %d is wanted", (int)low, (int)high);
    return -1;
}

/* Run a kernel without the interpreter's lock, and end the call. */
#define RUN_AND_RETURN(call, kernel)           \
    do {                                       \
        Py_BEGIN_ALLOW_THREADS;                \
        kernel;                                \
        Py_END_ALLOW_THREADS;                  \
        close_call(&(call));                   \
        Py_RETURN_NONE;                        \
    } while (0)

#define WITHOUT_NUMBERS(name)                                                                  \
    static PyObject *call_##name(PyObject *module, PyObject *const *args, Py_ssize_t given) {  \
        (void)module;                                                                          \
        Call call;                                                                             \
        if (open_call(args, given, 2, 0, &call)) return NULL;                                  \
        RUN_AND_RETURN(call, name(&call.from, &call.to));                                      \
    }

#define FIXED(bits) floor(number * (1 << (bits)) + 0.5)

/* Each kernel takes its number in its own type. */
#define WITH_A_NUMBER(name, low, high, type, converted)                                        \
    static PyObject *call_##name(PyObject *module, PyObject *const *args, Py_ssize_t given) {  \
        (void)module;                                                                          \
        Call call;                                                                             \
        double number;                                                                         \
        if (open_call(args, given, 3, 0, &call)) return NULL;                                  \
        if (number_of(args[2], low, high, &number)) {                                          \
            close_call(&call);                                                                 \
            return NULL;                                                                       \
        }                                                                                      \
        RUN_AND_RETURN(call, name(&call.from, &call.to, (type)(converted)));                  \
    }

WITHOUT_NUMBERS(flip)
WITHOUT_NUMBERS(autocontrast)
WITHOUT_NUMBERS(equalize)
WITH_A_NUMBER(brightness, 0, 100, float, number)
WITH_A_NUMBER(posterize, 0, 8, int, number)
WITH_A_NUMBER(solarize, 0, 256, int, ceil(number))
WITH_A_NUMBER(contrast, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(saturation, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(sharpness, -7, 7, int16_t, FIXED(12))
WITH_A_NUMBER(hue, 0, 6, int32_t, FIXED(12))

static PyObject *call_table(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    Py_buffer buffer;
    if (open_call(args, given, 3, 0, &call)) return NULL;
    const uint8_t *levels = numbers_of(args[2], "B", 256, &buffer);
    if (levels == NULL) {
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    table(&call.from, &call.to, levels);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&buffer);
    close_call(&call);
    Py_RETURN_NONE;
}

static PyObject *call_resize(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    int failed;
    if (open_call(args, given, 3, 1, &call)) return NULL;
    const int mirrored = PyObject_IsTrue(args[2]);
    if (mirrored < 0) {
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    failed = resize(&call.from, &call.to, mirrored);
    Py_END_ALLOW_THREADS;
    close_call(&call);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_blur(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    Py_buffer buffer;
    int failed;
    if (open_call(args, given, 3, 0, &call)) return NULL;
    const float *taps = numbers_of(args[2], "f", -1, &buffer);
    if (taps == NULL) {
        close_call(&call);
        return NULL;
    }
    const Py_ssize_t count = buffer.len / (Py_ssize_t)sizeof(float);
    double sum = 0.0;
    int wrong = count % 2 == 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        wrong |= !(taps[k] >= 0.0f && taps[k] <= 1.0f) || taps[k] != taps[count - 1 - k];
        sum += taps[k];
    }
    if (wrong || fabs(sum - 1.0) > 1e-3) {
        PyErr_SetString(PyExc_ValueError, "an odd number of symmetric weights that add up to 1 is wanted");
        PyBuffer_Release(&buffer);
        close_call(&call);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    failed = blur(&call.from, &call.to, taps, count / 2);
    Py_END_ALLOW_THREADS;
    PyBuffer_Release(&buffer);
    close_call(&call);
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *call_warp(PyObject *module, PyObject *const *args, Py_ssize_t given) {
    (void)module;
    Call call;
    double m[6] = {0.0};
    if (open_call(args, given, 4, 0, &call)) return NULL;
    const long fill = PyLong_AsLong(args[3]);
    if (!PyTuple_Check(args[2]) || PyTuple_GET_SIZE(args[2]) != 6)
        PyErr_SetString(PyExc_TypeError, "a tuple of six numbers is wanted");
    for (int i = 0; i < 6 && !PyErr_Occurred(); i++)
        m[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(args[2], i));
    if (PyErr_Occurred()) {
        close_call(&call);
        return NULL;
    }
    const double area = m[0] * m[4] - m[1] * m[3];
    const double inverse[6] = {m[4] / area,  -m[1] / area, (m[1] * m[5] - m[2] * m[4]) / area,
                               -m[3] / area, m[0] / area,  (m[2] * m[3] - m[0] * m[5]) / area};
    /* All places that are sampled must fit in Q32; NaN does not pass this check. */
    const double width = (double)call.to.width + 1, height = (double)call.to.height + 1, limit = 1 << 28;
    const int near_by =
        fabs(inverse[0]) * width + fabs(inverse[1]) * height + fabs(inverse[2]) < limit &&
        fabs(inverse[3]) * width + fabs(inverse[4]) * height + fabs(inverse[5]) < limit;
    if (!near_by || fill < 0 || fill > 255) {
        PyErr_SetString(PyExc_ValueError, "a map that has an inverse and a level of 0 to 255 are wanted");
        close_call(&call);
        return NULL;
    }
    RUN_AND_RETURN(call, warp(&call.from, &call.to, inverse, (uint8_t)fill));
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))call_##name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    METHOD(resize),   METHOD(flip),       METHOD(warp),      METHOD(table),        METHOD(brightness),
    METHOD(solarize), METHOD(posterize),  METHOD(contrast),  METHOD(autocontrast), METHOD(equalize),
    METHOD(hue),      METHOD(saturation), METHOD(sharpness), METHOD(blur),         {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "kernels",
    .m_doc = "Pixel kernels of the CPU executor; what each takes stands in kernels.pyi.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_kernels(void) { return PyModuleDef_Init(&module); }
