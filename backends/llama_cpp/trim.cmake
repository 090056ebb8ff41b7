# Included by llama-cpp-python's CMake project: a plain variable outranks the cache entry that its CMakeLists forces
# (CMP0126). The parts left out (`common`, the command line tools) are not in the Python module.
set(LLAMA_BUILD_COMMON OFF)
