/* Acts as cv_bridge of apt: an extension compiled for NumPy 1.26, which NumPy 2 cannot load. */
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "cv_bridge_stand_in", 0, -1, 0};

PyMODINIT_FUNC PyInit_cv_bridge_stand_in(void) {
  import_array();
  return PyModule_Create(&definition);
}
