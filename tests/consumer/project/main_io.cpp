// The target eosin::io brings the include directories and libraries of what it was configured with.
#include <eosin/eosin.hpp>

#include <nlohmann/json.hpp>
#if EOSIN_HAS_ZLIB
#include <zlib.h>
#endif
#if EOSIN_HAS_HDF5
#include <hdf5.h>
#endif
#if EOSIN_HAS_PNG
#include <png.h>
#endif
#if EOSIN_HAS_JPEG
#include <cstddef>
#include <cstdio>

#include <jpeglib.h>
#endif

int main() {
  bool ok = nlohmann::json::parse("[1]").size() == 1;
#if EOSIN_HAS_ZLIB
  ok = ok && zlibVersion() != nullptr;
#endif
#if EOSIN_HAS_HDF5
  ok = ok && H5open() >= 0;
#endif
#if EOSIN_HAS_PNG
  ok = ok && png_access_version_number() != 0;
#endif
#if EOSIN_HAS_JPEG
  jpeg_error_mgr error;
  ok = ok && jpeg_std_error(&error) != nullptr;
#endif
  return ok ? 0 : 1;
}
