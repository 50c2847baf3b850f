#include <eosin/io/text.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;

namespace {

std::vector<std::string> lines_of(io::TextReader reader) {
  std::vector<std::string> lines;
  while (const auto line = reader.next_line()) {
    lines.emplace_back(*line);
    REQUIRE(reader.line() == lines.size());
  }
  CHECK_FALSE(reader.next_line());
  return lines;
}

std::vector<std::string> lines_of(const std::string& content) {
  return lines_of(io::TextReader::from_memory(content, "t.txt"));
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("text: line ends, byte order mark, last line without an end") {
  CHECK(lines_of(std::string()) == Lines{});
  CHECK(lines_of(std::string("a")) == Lines{"a"});
  CHECK(lines_of(std::string("a\n")) == Lines{"a"});
  CHECK(lines_of(std::string("a\r\n\r\nb\r")) == Lines{"a", "", "b"});
  CHECK(lines_of(std::string("\xEF\xBB\xBFx\n\xEF\xBB\xBFy")) == Lines{"x", "\xEF\xBB\xBFy"});
  CHECK(lines_of(std::string("a\0b\n", 4)) == Lines{std::string("a\0b", 3)});
}

TEST_CASE("text: lines longer than any buffer") {
  std::string content;
  Lines want;
  for (std::size_t length : {std::size_t{0}, std::size_t{262143}, std::size_t{262144}, std::size_t{262145},
                             std::size_t{900000}, std::size_t{3}}) {
    want.emplace_back(length, 'q');
    content += want.back() + "\n";
  }
  CHECK(lines_of(content) == want);
#if EOSIN_HAS_ZLIB
  CHECK(lines_of(io::gzip_compress(content)) == want);
#endif
}

TEST_CASE("text: a line without end is refused") {
  const auto message =
      testing::message_of([] { lines_of(std::string("a\n") + std::string(io::TextReader::longest_line + 2, 'x')); });
  CHECK(testing::contains(message, "t.txt:2"));
}

#if EOSIN_HAS_ZLIB
TEST_CASE("text: gzip with several members, padding, damage") {
  const std::string one = io::gzip_compress("a\nb");
  const std::string two = io::gzip_compress("c\nd\n");
  const std::string none = io::gzip_compress("");
  CHECK(lines_of(one + two) == Lines{"a", "bc", "d"});
  CHECK(lines_of(none + one + none + two + std::string(512, '\0')) == Lines{"a", "bc", "d"});
  CHECK(lines_of(none) == Lines{});
  for (std::size_t cut = 2; cut < one.size(); ++cut) {
    CAPTURE(cut);
    const auto message = testing::message_of([&] { lines_of(one.substr(0, cut)); });
    CHECK(testing::contains(message, "t.txt"));
    CHECK(testing::contains(message, "truncated"));
  }
  CHECK(testing::contains(testing::message_of([&] { lines_of(one + two.substr(0, 15)); }), "truncated"));
  CHECK(testing::contains(testing::message_of([&] { lines_of(one + "tail"); }), "other bytes"));
  std::string damaged = two;
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);
  CHECK(testing::contains(testing::message_of([&] { lines_of(damaged); }), "damaged"));
}

TEST_CASE("text: gzip bytes are reproducible and read back") {
  testing::TemporaryFolder folder;
  std::string content;
  for (int i = 0; i < 40000; ++i) content += std::to_string(i * 7919 % 10007) + "\n";
  for (const char* name : {"a.txt", "a.txt.gz", "b.txt.gz"}) {
    io::TextWriter writer(folder.path() / name);
    for (std::size_t i = 0; i < content.size(); i += 1000) writer.write(content.substr(i, 1000));
    CHECK_FALSE(std::filesystem::exists(folder.path() / name));
    writer.commit();
  }
  CHECK(io::read_file(folder.path() / "a.txt") == content);
  CHECK(io::read_file(folder.path() / "a.txt.gz") == io::read_file(folder.path() / "b.txt.gz"));
  CHECK(io::read_file(folder.path() / "a.txt.gz").size() < content.size() / 2);
  CHECK(lines_of(io::TextReader(folder.path() / "a.txt.gz")) == lines_of(content));
}
#endif
