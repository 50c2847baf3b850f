# Compiles the umbrella with Eigen as the only include directory beside eosin's own, and fails if a header of any other
# library was read on the way (system directories may hold them all).

execute_process(
  COMMAND "${COMPILER}" -std=c++20 -M "-I${SOURCE}/include" -isystem "${EIGEN}" -x c++ "${SOURCE}/include/eosin/eosin.hpp"
  OUTPUT_VARIABLE dependencies
  ERROR_VARIABLE messages
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the umbrella does not compile with Eigen alone:\n${messages}")
endif()
string(REGEX MATCHALL "[^ \n\\\\]+" files "${dependencies}")
set(count 0)
foreach(file IN LISTS files)
  if(file MATCHES "/(nlohmann|CLI|oneapi|hdf5[^/]*|doctest|stb|openblas[^/]*)/|/(zlib|zconf|hdf5|jpeglib|png|pngconf|dnnl|cblas|mpi)\\.hp*$")
    message(SEND_ERROR "the umbrella reads ${file}")
  endif()
  math(EXPR count "${count} + 1")
endforeach()
message(STATUS "${count} files read")
