#include <eosin/io/lzf.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace eosin;

TEST_CASE("lzf: literals, short and long copies") {
  using namespace std::string_literals;
  CHECK(io::lzf_decompress("", 10) == "");
  CHECK(io::lzf_decompress("\x02"
                           "abc"s,
                           10) == "abc");
  CHECK(io::lzf_decompress("\x02"
                           "abc"
                           "\x20\x02"s,
                           10) == "abcabc");  // 3 bytes from 3 back
  CHECK(io::lzf_decompress("\x00"
                           "a"
                           "\x60\x00"s,
                           10) == "aaaaaa");  // overlaps what it writes
  CHECK(io::lzf_decompress("\x00"
                           "a"
                           "\xe0\x0a\x00"s,
                           100) == std::string(20, 'a'));
}

TEST_CASE("lzf: damaged streams") {
  using namespace std::string_literals;
  CHECK_FALSE(
      io::lzf_decompress("\x05"
                         "abc"s,
                         10));                   // fewer literals than said
  CHECK_FALSE(io::lzf_decompress("\x20"s, 10));  // no distance
  CHECK_FALSE(
      io::lzf_decompress("\x00"
                         "a"
                         "\xe0"s,
                         10));  // no length
  CHECK_FALSE(
      io::lzf_decompress("\x00"
                         "a"
                         "\x20\x05"s,
                         10));  // before the start
  CHECK_FALSE(
      io::lzf_decompress("\x02"
                         "abc"s,
                         2));  // more than allowed
  CHECK_FALSE(
      io::lzf_decompress("\x00"
                         "a"
                         "\x60\x00"s,
                         5));
}
