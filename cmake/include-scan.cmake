# Which third-party libraries a source file needs, found by following its includes through the repository. So tests,
# header checks and the umbrella header know by themselves what can be built from what is installed.

set(eosin_scan_root "${CMAKE_CURRENT_LIST_DIR}/..")

# Name of a library, a regular expression of its headers, the target that stands for it.
set(eosin_third_party
    "nlohmann_json=nlohmann/=eosin::io"
    "zlib=zlib\\.h=ZLIB::ZLIB"
    "HDF5=hdf5\\.h=eosin::hdf5"
    "libjpeg=jpeglib\\.h=JPEG::JPEG"
    "libpng=png\\.h=PNG::PNG"
    "oneDNN=(oneapi/dnnl/)?dnnl\\.hp*=eosin::onednn"
    "CBLAS=cblas\\.h=eosin::cblas"
    "CLI11=CLI/=CLI11::CLI11")

# Sets `out` to the names of the libraries that `file` needs beyond Eigen, itself or through what it includes.
function(eosin_libraries_of file out)
  set(open "${file}")
  set(seen "")
  set(found "")
  while(open)
    list(POP_FRONT open current)
    if(current IN_LIST seen)
      continue()
    endif()
    list(APPEND seen "${current}")
    get_filename_component(folder "${current}" DIRECTORY)
    file(STRINGS "${current}" lines REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "^[^<\"]*[<\"]([^>\"]+)[>\"].*$" "\\1" included "${line}")
      set(inside FALSE)
      foreach(base "${folder}" "${eosin_scan_root}/include" "${eosin_scan_root}/tests" "${eosin_scan_root}/examples")
        if(EXISTS "${base}/${included}" AND NOT IS_DIRECTORY "${base}/${included}")
          get_filename_component(path "${base}/${included}" REALPATH)
          list(APPEND open "${path}")
          set(inside TRUE)
          break()
        endif()
      endforeach()
      if(inside)
        continue()
      endif()
      foreach(entry IN LISTS eosin_third_party)
        string(REPLACE "=" ";" entry "${entry}")
        list(GET entry 0 name)
        list(GET entry 1 pattern)
        if(included MATCHES "^${pattern}")
          list(APPEND found "${name}")
        endif()
      endforeach()
    endforeach()
  endwhile()
  list(REMOVE_DUPLICATES found)
  set(${out} "${found}" PARENT_SCOPE)
endfunction()

# Sets `out` to those of the libraries that are not there.
function(eosin_missing_of file out)
  eosin_libraries_of("${file}" libraries)
  set(missing "")
  foreach(entry IN LISTS eosin_third_party)
    string(REPLACE "=" ";" entry "${entry}")
    list(GET entry 0 name)
    list(GET entry 2 target)
    if(name IN_LIST libraries AND NOT TARGET ${target})
      list(APPEND missing "${name}")
    endif()
  endforeach()
  list(JOIN missing ", " missing)
  set(${out} "${missing}" PARENT_SCOPE)
endfunction()
