#include <eosin/io/base64.hpp>

#include <doctest/doctest.h>

#include <string>

using eosin::io::base64;

TEST_CASE("base64: the examples of RFC 4648, and all bits") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64(std::string("\xFF\xEF\x00\xBE", 4)) == "/+8Avg==");
}
