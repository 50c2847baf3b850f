#include <eosin/io/number.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace eosin;

TEST_CASE("number: text to the nearest double") {
  CHECK(*io::parse_number("0.1") == 0.1);
  CHECK(*io::parse_number(" -2.5e-3\t") == -0.0025);
  CHECK(*io::parse_number("+7") == 7);
  CHECK(*io::parse_number(".5") == 0.5);
  CHECK(*io::parse_number("5e-324") == 5e-324);
  CHECK(*io::parse_number("1.7976931348623157e308") == std::numeric_limits<double>::max());
  CHECK(std::isnan(*io::parse_number("NaN")));
  CHECK(std::isinf(*io::parse_number("-inf")));
  CHECK(std::signbit(*io::parse_number("-0")));
  for (const char* small : {"1e-400", "0.000001e-330", "1e-99999999999999999999"}) {
    CAPTURE(small);
    REQUIRE(io::parse_number(small));
    CHECK(*io::parse_number(small) == 0);
  }
  CHECK(std::signbit(*io::parse_number("-1e-400")));
  for (const char* bad : {"", " ", "x", "1x", "1,5", "0x10", "+-1", "++1", "--1", "1e", "1e400", "-1e400",
                          "1e99999999999", "1 2", "NA"}) {
    CAPTURE(bad);
    CHECK_FALSE(io::parse_number(bad));
  }
}

TEST_CASE("number: integers") {
  CHECK(*io::parse_integer(" 42 ") == 42);
  CHECK(*io::parse_integer("-3") == -3);
  CHECK(*io::parse_integer("+3") == 3);
  for (const char* bad : {"", "1.0", "9223372036854775808", "1e3", "+-1"}) CHECK_FALSE(io::parse_integer(bad));
}

TEST_CASE("number: shortest text reads back, digits are kept") {
  for (const double value : {0.1, 1.0 / 3, 1e-310, -2.5, 123456789.0})
    CHECK(*io::parse_number(io::number_text(value)) == value);
  CHECK(io::number_text(0.1f) == "0.1");
  CHECK(io::number_text(1.0 / 3, 4) == "0.3333");
  CHECK(io::number_text(42) == "42");
  CHECK(io::number_text(1.0 / 3, 1000).size() < 64);
}
