#pragma once

// The one home of the version; CMakeLists.txt reads it from here.
#define EOSIN_VERSION_MAJOR 0
#define EOSIN_VERSION_MINOR 1
#define EOSIN_VERSION_PATCH 0

namespace eosin {
inline constexpr const char* version = "0.1.0";
}
