# For what is built in this repository; nothing here reaches a project that uses eosin.

if(PROJECT_IS_TOP_LEVEL)
  get_property(eosin_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT CMAKE_BUILD_TYPE AND NOT eosin_multi_config)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  endif()
  if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
    find_program(EOSIN_CCACHE ccache)
    mark_as_advanced(EOSIN_CCACHE)
    if(EOSIN_CCACHE)
      # Paths below the source folder count as relative, so that a second clone finds what the first one compiled.
      set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
                                      CCACHE_NOHASHDIR=true "${EOSIN_CCACHE}")
    endif()
  endif()
endif()

set(eosin_warnings -Wall -Wextra -Wconversion -Wshadow -Werror)

# Linked PRIVATE by tests, examples and benchmarks.
add_library(eosin_development INTERFACE)
target_compile_options(eosin_development INTERFACE ${eosin_warnings})
# Mistakes of GCC 12 about its own headers when it optimises: the _mm512_undefined_*() inside the AVX-512 intrinsics
# and short Eigen vectors beside them (its bug 105593), and "text" + std::string (105651). Headers are checked with
# these warnings on, without optimisation.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(eosin_development INTERFACE -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overread
                                                     -Wno-stringop-overflow -Wno-restrict)
endif()
if(EOSIN_NATIVE)
  target_compile_options(eosin_development INTERFACE -march=native)
endif()
if(EOSIN_SANITIZE)
  list(JOIN EOSIN_SANITIZE "," eosin_sanitizers)
  set(eosin_sanitize_flags -fsanitize=${eosin_sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(eosin_development INTERFACE ${eosin_sanitize_flags} -g1)
  target_link_options(eosin_development INTERFACE ${eosin_sanitize_flags})
endif()
