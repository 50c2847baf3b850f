#include <eosin/io/feature_cache.hpp>

#include "support/arrays.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace eosin;

namespace {

io::FeatureKey key_of(const std::string& image, Index edge) {
  io::FeatureKey key;
  key.set("image", image).set("edge", edge).set("encoder", "densenet121");
  return key;
}

}  // namespace

TEST_CASE("io::feature_cache: what is written under a key is read back under it and under no other") {
  const testing::TemporaryFolder folder;
  const io::FeatureCache cache(folder.path() / "not" / "yet");
  const auto features = testing::normal_matrix<float>(7, 5, 1);
  const auto key = key_of("aa", 224);
  CHECK(!cache.read(key, 7));
  cache.write(key, features);
  const auto found = cache.read(key, 7);
  REQUIRE(found);
  CHECK(testing::same_bits(*found, features));
  CHECK(!cache.read(key, 8));
  CHECK(!cache.read(key_of("ab", 224), 7));
  CHECK(!cache.read(key_of("aa", 225), 7));
  // The order in which a key is made does not matter.
  io::FeatureKey same;
  same.set("encoder", "densenet121").set("edge", Index{224}).set("image", "aa");
  CHECK(cache.read(same, 7));
  // Another key's file under this name, as if hashes had collided.
  std::filesystem::copy_file(cache.path(key), cache.path(key_of("ab", 224)));
  CHECK(!cache.read(key_of("ab", 224), 7));
  // Written again: replaced.
  const auto others = testing::normal_matrix<float>(7, 5, 2);
  cache.write(key, others);
  CHECK(testing::same_bits(*cache.read(key, 7), others));
}

TEST_CASE("io::feature_cache: a damaged file counts as absent") {
  const testing::TemporaryFolder folder;
  const io::FeatureCache cache(folder.path());
  const auto key = key_of("aa", 224);
  cache.write(key, testing::normal_matrix<float>(7, 5, 1));
  const std::string content = io::read_file(cache.path(key));
  for (const std::size_t length : {std::size_t{0}, std::size_t{5}, content.size() / 2, content.size() - 1}) {
    io::write_file(cache.path(key), content.substr(0, length));
    CHECK(!cache.read(key, 7));
  }
  const auto file = folder.write("file", "not a folder");
  CHECK_THROWS_AS(io::FeatureCache(file / "below").write(key, Matrix<float>(1, 1)), FileError);
}

TEST_CASE("io::feature_cache: contents that differ have different hashes") {
  std::set<std::string> seen;
  vision::Image image(10, 6);
  seen.insert(io::content_hash(image));
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = 1;
    seen.insert(io::content_hash(image));
    image.pixels[i] = 128;
    seen.insert(io::content_hash(image));
    image.pixels[i] = 0;
  }
  CHECK(seen.size() == 1 + 2 * image.pixels.size());
  // The same bytes in another shape.
  CHECK(io::content_hash(vision::Image(6, 10)) != io::content_hash(vision::Image(10, 6)));
  io::ContentHash once, twice;
  once.add("ab");
  twice.add("a");
  twice.add("b");
  CHECK(once.text() != twice.text());
  CHECK(once.text().size() == 16);
  const testing::TemporaryFolder folder;
  const auto a = folder.write("a", "weights"), b = folder.write("b", "weights"), c = folder.write("c", "Weights");
  CHECK(io::hash_file(a) == io::hash_file(b));
  CHECK(io::hash_file(a) != io::hash_file(c));
  const std::vector<double> centres{1, 2, 3}, moved{1, 2, 4};
  CHECK(io::content_hash(std::span(centres)) != io::content_hash(std::span(moved)));
}
