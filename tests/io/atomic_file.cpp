#include <eosin/io/atomic_file.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <iterator>
#include <string>

#include <eosin/io/file.hpp>

#include "support/temporary_folder.hpp"

using namespace eosin;

namespace {

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

}  // namespace

TEST_CASE("atomic file: the old content stays until the new one is complete") {
  testing::TemporaryFolder folder;
  const auto path = folder.path() / "a.txt";
  io::write_file(path, "old");
  {
    io::AtomicFile file(path);
    file.write("half");
    CHECK(io::read_file(path) == "old");
    CHECK(files_in(folder.path()) == 2);
  }
  CHECK(io::read_file(path) == "old");
  CHECK(files_in(folder.path()) == 1);
  io::AtomicFile file(path);
  const std::string large(1 << 20, 'x');
  file.write(large);
  file.commit();
  CHECK(io::read_file(path) == large);
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic file: failures name the target and leave nothing behind") {
  testing::TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(io::AtomicFile(folder.path() / "missing" / "a.txt"), doctest::Contains("a.txt"), FileError);
  std::filesystem::create_directory(folder.path() / "taken");
  std::filesystem::create_directory(folder.path() / "taken" / "inside");
  CHECK_THROWS_WITH_AS(io::write_file(folder.path() / "taken", "x"), doctest::Contains("taken"), FileError);
  CHECK(files_in(folder.path()) == 1);
  CHECK_THROWS_WITH_AS(io::read_file(folder.path() / "taken"), doctest::Contains("folder"), FileError);
  CHECK_THROWS_WITH_AS(io::read_file(folder.path() / "none"), doctest::Contains("no such file"), FileError);
}
