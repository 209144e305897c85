/* Streams of random numbers: Philox 4x64-10, a generator without a state of its own.
 *
 * Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the words are those of NumPy's
 * `Philox`. What a stream is made of and how it is used stands in stream.pyi.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

enum { FOURS = 4 }; /* counts of a stream in one block; the next stream's follow them */

typedef struct {
    PyObject_HEAD
    uint64_t seed, epoch;        /* the key */
    uint64_t count, block, index; /* the counter, whose last word is 0 */
    double numbers[4];
    int left; /* of `numbers` */
} Stream;

/* 128 bits are gcc's and clang's, on the 64-bit machines that torch runs on. */
static inline uint64_t high_of(uint64_t a, uint64_t b) {
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

/* The next four words of a stream, as numbers of 53 bits on [0, 1). */
static void refill(Stream *stream) {
    stream->count++; /* before it is used, as NumPy does */
    uint64_t a = stream->count, b = stream->block, c = stream->index, d = 0;
    uint64_t key = stream->seed, other = stream->epoch;
    for (int round = 0; round < 10; round++) {
        const uint64_t low = 0xD2E7470EE14C6C93u * a, high = high_of(0xD2E7470EE14C6C93u, a);
        const uint64_t low_2 = 0xCA5A826395121157u * c, high_2 = high_of(0xCA5A826395121157u, c);
        a = high_2 ^ b ^ key;
        b = low_2;
        c = high ^ d ^ other;
        d = low;
        key += 0x9E3779B97F4A7C15u;
        other += 0xBB67AE8584CAA73Bu;
    }
    const uint64_t words[4] = {a, b, c, d};
    for (int i = 0; i < 4; i++) stream->numbers[i] = (double)(words[i] >> 11) * 0x1p-53;
    stream->left = 4;
    if (stream->count % FOURS == 0) {
        stream->count -= FOURS;
        stream->block++;
    }
}

static inline double next(Stream *stream) {
    if (stream->left == 0) refill(stream);
    return stream->numbers[4 - stream->left--];
}

/* A whole number of any size and kind, wrapped to 64 bits. */
static int word_of(PyObject *object, uint64_t *word) {
    PyObject *whole = PyNumber_Index(object);
    if (whole == NULL) return -1;
    *word = PyLong_AsUnsignedLongLongMask(whole);
    Py_DECREF(whole);
    return *word == (uint64_t)-1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *new_stream(PyTypeObject *type, PyObject *args, PyObject *named) {
    static char *names[] = {"seed", "epoch", "index", "number", NULL};
    PyObject *objects[4];
    uint64_t words[4];
    if (!PyArg_ParseTupleAndKeywords(args, named, "O$OOO:Stream", names, objects, objects + 1,
                                     objects + 2, objects + 3))
        return NULL;
    for (int i = 0; i < 4; i++)
        if (word_of(objects[i], words + i)) return NULL;
    Stream *stream = (Stream *)type->tp_alloc(type, 0);
    if (stream == NULL) return NULL;
    stream->seed = words[0];
    stream->epoch = words[1];
    stream->index = words[2];
    stream->count = words[3] * FOURS;
    return (PyObject *)stream;
}

static void delete_stream(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *stream_random(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyFloat_FromDouble(next((Stream *)self));
}

static PyObject *stream_uniform(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    if (given != 2) return PyErr_Format(PyExc_TypeError, "2 numbers are wanted, %zd were given", given);
    const double low = PyFloat_AsDouble(args[0]), high = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred()) return NULL;
    return PyFloat_FromDouble(low + (high - low) * next((Stream *)self));
}

static PyObject *stream_integer(PyObject *self, PyObject *count) {
    const double values = PyFloat_AsDouble(count);
    if (PyErr_Occurred()) return NULL;
    return PyLong_FromDouble(next((Stream *)self) * values);
}

static PyObject *stream_chance(PyObject *self, PyObject *prob) {
    const double wanted = PyFloat_AsDouble(prob);
    if (PyErr_Occurred()) return NULL;
    return PyBool_FromLong(next((Stream *)self) < wanted);
}

/* Fisher and Yates. */
static PyObject *stream_permutation(PyObject *self, PyObject *count) {
    const Py_ssize_t length = PyNumber_AsSsize_t(count, PyExc_OverflowError);
    if (length == -1 && PyErr_Occurred()) return NULL;
    PyObject *order = PyList_New(length > 0 ? length : 0);
    for (Py_ssize_t i = 0; order != NULL && i < length; i++) {
        PyObject *number = PyLong_FromSsize_t(i);
        if (number == NULL) Py_CLEAR(order);
        else PyList_SET_ITEM(order, i, number);
    }
    for (Py_ssize_t last = length - 1; order != NULL && last > 0; last--) {
        const Py_ssize_t other = (Py_ssize_t)(next((Stream *)self) * (double)(last + 1));
        PyObject *number = PyList_GET_ITEM(order, last);
        PyList_SET_ITEM(order, last, PyList_GET_ITEM(order, other));
        PyList_SET_ITEM(order, other, number);
    }
    return order;
}

static PyMethodDef methods[] = {
    {"random", stream_random, METH_NOARGS, NULL},
    {"uniform", (PyCFunction)(void (*)(void))stream_uniform, METH_FASTCALL, NULL},
    {"integer", stream_integer, METH_O, NULL},
    {"chance", stream_chance, METH_O, NULL},
    {"permutation", stream_permutation, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "One endless sequence of random numbers; see stream.pyi."},
    {Py_tp_new, new_stream},
    {Py_tp_dealloc, delete_stream},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {"massrl.stream.Stream", sizeof(Stream), 0, Py_TPFLAGS_DEFAULT, slots};

static int fill_module(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL) return -1;
    const int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "stream",
    .m_size = 0,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit_stream(void) { return PyModuleDef_Init(&module); }
