# Tests of kernels. Their sources are compiled twice: against the stand-in for the CUDA runtime in emulation/, by the C++
# compiler and under every sanitizer; and by nvcc where there is one, to run on a device where there is one.

file(GLOB cuda_sources CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "cuda/*.cpp")

# Whole models, made of what the other tests see, and the NB GLM fitter, one large kernel: minutes to compile, and under
# the thread sanitizer to run.
set(cuda_models "cuda/(transformer|captured_step|densenet|glm_fit)")
if(EOSIN_SANITIZE)
  list(FILTER cuda_sources EXCLUDE REGEX "${cuda_models}")
endif()

# ---- Emulated ---------------------------------------------------------------------------------------------------------

add_library(eosin_cuda_emulation INTERFACE)
target_compile_definitions(eosin_cuda_emulation INTERFACE EOSIN_CUDA_EMULATION)
# Before any CUDA toolkit of the system.
target_include_directories(eosin_cuda_emulation BEFORE INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}/emulation")
target_link_libraries(eosin_cuda_emulation INTERFACE eosin_test_options)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(eosin_cuda_emulation INTERFACE -Wno-uninitialized)
endif()

add_executable(eosin_cuda_tests_emulated main.cpp emulation/emulator.cpp ${cuda_sources})
target_link_libraries(eosin_cuda_tests_emulated PRIVATE eosin_cuda_emulation)
# Small grids take the compiler longer than they run. The thread sanitizer's runs are the longer ones.
if(NOT "thread" IN_LIST EOSIN_SANITIZE)
  set(light_sources ${cuda_sources})
  list(FILTER light_sources INCLUDE REGEX "/(augmentation|composition_losses|embedding|layer_norm|library_target|normalise_rows|pearson|pooling|prototype_head|prototype_losses|softmax_cross_entropy)")
  set(light_options -O0)
  if("address" IN_LIST EOSIN_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND light_options --param=asan-instrumentation-with-call-threshold=0)
  endif()
  set_property(SOURCE ${light_sources} APPEND PROPERTY COMPILE_OPTIONS ${light_options})
endif()
foreach(source IN ITEMS emulation/emulator.cpp ${cuda_sources})
  string(REGEX REPLACE "\\.cpp$" "" name "${source}")
  string(REGEX REPLACE "^cuda/" "cuda/emulated/" name "${name}")
  add_test(NAME "${name}" COMMAND eosin_cuda_tests_emulated "--source-file=*/tests/${source}")
  set_tests_properties("${name}" PROPERTIES FAIL_REGULAR_EXPRESSION "test cases: +0 [|]")
endforeach()

# Mistakes that only a sanitizer sees, with its words for them.
add_executable(eosin_bad_kernels emulation/bad_kernels.cpp)
target_link_libraries(eosin_bad_kernels PRIVATE eosin_cuda_emulation)
function(eosin_add_bad_kernel name words)
  add_test(NAME "emulation/${name}" COMMAND eosin_bad_kernels ${name})
  set_tests_properties("emulation/${name}" PROPERTIES PASS_REGULAR_EXPRESSION "${words}")
endfunction()
eosin_add_bad_kernel(right "right: nothing found")
if("address" IN_LIST EOSIN_SANITIZE)
  foreach(name read_behind write_before static_shared dynamic_shared)
    eosin_add_bad_kernel(${name} "AddressSanitizer: use-after-poison")
  endforeach()
  eosin_add_bad_kernel(misaligned "store to misaligned address")
elseif("thread" IN_LIST EOSIN_SANITIZE)
  foreach(name race warp_race)
    eosin_add_bad_kernel(${name} "ThreadSanitizer: data race")
  endforeach()
endif()

if(EOSIN_SANITIZE)
  return()
endif()

set(emulated_check_sources golden_check/main.cpp)
eosin_missing_of("${CMAKE_CURRENT_SOURCE_DIR}/golden_check/main.cpp" missing)
if(missing)
  eosin_add_skipped_test("golden_check_emulated" "not built without ${missing}")
else()
  add_executable(eosin_golden_check_emulated golden_check/main.cpp)
  target_link_libraries(eosin_golden_check_emulated PRIVATE eosin_cuda_emulation)
  # The components of golden_check/device_components.hpp.
  file(STRINGS golden_check/device_components.hpp lines REGEX "^ *{\"[a-z_]+\", {check_")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^ *{\"([a-z_]+)\".*" "\\1" component "${line}")
    file(GLOB cases "golden/${component}/*/case.json")
    list(TRANSFORM cases REPLACE "/case\\.json$" "")
    add_test(NAME "golden_check_emulated/${component}/double" COMMAND eosin_golden_check_emulated ${cases})
    add_test(NAME "golden_check_emulated/${component}/float" COMMAND eosin_golden_check_emulated --float ${cases})
  endforeach()
endif()

# ---- By nvcc ----------------------------------------------------------------------------------------------------------

include(CheckLanguage)
if(NOT TARGET eosin::cuda)
  eosin_add_skipped_test("cuda" "not built without a CUDA toolkit")
  return()
endif()
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  eosin_add_skipped_test("cuda" "not built without nvcc")
  return()
endif()
# Where no device is found the units are compiled all the same, for their warnings; those that would be minutes of work
# are left out then.
execute_process(COMMAND nvidia-smi -L OUTPUT_QUIET ERROR_QUIET RESULT_VARIABLE no_device)
if(no_device)
  set(device_found OFF)
else()
  set(device_found ON)
endif()
option(EOSIN_CUDA_MODELS "Compile by nvcc the tests of whole models and eosin_golden_check --cuda too (minutes)"
       ${device_found})
if(NOT EOSIN_CUDA_MODELS)
  list(FILTER cuda_sources EXCLUDE REGEX "${cuda_models}")
  eosin_add_skipped_test("cuda/device/models" "no CUDA device is found (EOSIN_CUDA_MODELS is OFF)")
endif()

# Machine code for Ampere and Hopper, and PTX for what comes later.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
endif()
enable_language(CUDA)
# nvcc optimises device code by itself; optimising the tests' host code as well would be a third of the work.
set(CMAKE_CUDA_FLAGS_RELEASE -DNDEBUG)

set(cuda_units "")
foreach(source IN LISTS cuda_sources)
  get_filename_component(name "${source}" NAME_WE)
  set(unit "${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.cu")
  file(CONFIGURE OUTPUT "${unit}" CONTENT "#include \"@source@\"\n" @ONLY)
  list(APPEND cuda_units "${unit}")
endforeach()
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/cuda/main.cu" CONTENT "#include \"cuda/device_main.hpp\"\n")
add_executable(eosin_cuda_tests "${CMAKE_CURRENT_BINARY_DIR}/cuda/main.cu" ${cuda_units})
target_include_directories(eosin_cuda_tests PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/examples")
target_link_libraries(eosin_cuda_tests PRIVATE eosin::cuda doctest::doctest)
target_compile_options(eosin_cuda_tests PRIVATE -Xcompiler=-Wall,-Wextra -Werror=all-warnings)
foreach(source IN LISTS cuda_sources)
  get_filename_component(name "${source}" NAME_WE)
  add_test(NAME "cuda/device/${name}" COMMAND eosin_cuda_tests "--source-file=*/tests/${source}")
  set_tests_properties("cuda/device/${name}" PROPERTIES SKIP_REGULAR_EXPRESSION "SKIPPED "
                                                        FAIL_REGULAR_EXPRESSION "test cases: +0 [|]")
endforeach()
