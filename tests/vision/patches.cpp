#include <eosin/vision/patches.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

using namespace eosin;
using vision::Image;
using vision::Point;

namespace {

// Every pixel tells where it is.
Image coordinates(Index width, Index height) {
  Image image(width, height);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(x);
      image.at(x, y)[1] = static_cast<std::uint8_t>(y);
      image.at(x, y)[2] = static_cast<std::uint8_t>(x + y);
    }
  return image;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

TEST_CASE("mirror_index repeats the outermost pixel and goes on for any distance") {
  const std::vector<Index> expected{1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1};
  for (Index i = -5; i <= 7; ++i) CHECK(vision::mirror_index(i, 3) == expected[static_cast<std::size_t>(i + 5)]);
  CHECK(vision::mirror_index(-1000000007, 1) == 0);
}

TEST_CASE("extract_patch: inside, across the border, larger than the image") {
  const Image image = coordinates(9, 7);
  for (const Index edge : {1, 2, 5, 8, 40})
    for (const Point centre : {Point{4, 3}, Point{0, 0}, Point{8.4, 6.2}, Point{-0.4, 2.6}}) {
      const Image patch = vision::extract_patch(image, centre, edge);
      REQUIRE(patch.width == edge);
      REQUIRE(patch.height == edge);
      const auto left = static_cast<Index>(std::lround(centre.x)) - edge / 2;
      const auto top = static_cast<Index>(std::lround(centre.y)) - edge / 2;
      for (Index y = 0; y < edge; ++y)
        for (Index x = 0; x < edge; ++x) {
          REQUIRE(patch.at(x, y)[0] == vision::mirror_index(left + x, 9));
          REQUIRE(patch.at(x, y)[1] == vision::mirror_index(top + y, 7));
        }
    }
  // The middle pixel of an odd edge is the centre itself.
  CHECK(vision::extract_patch(image, {3, 5}, 3).at(1, 1)[2] == 8);
}

TEST_CASE("a centre outside the image is named with its coordinates and the size of the image") {
  const Image image = coordinates(9, 7);
  const std::vector<Point> centres{{2, 2}, {1234.56, 3}};
  const std::vector<std::string> names{"10x11", "10x12"};
  CHECK(message_of([&] { vision::require_centres(image, centres, names); }) ==
        "spot '10x12' lies at pixel (1234.6, 3.0), outside the image of 9 x 7 pixels: image smaller than the "
        "coordinates");
  CHECK(message_of([&] { vision::require_centres(image, centres); }).find("in row 1") != std::string::npos);
  const double nan = std::numeric_limits<double>::quiet_NaN(), huge = 1e300;
  for (const Point p : {Point{-0.6, 2}, Point{2, 6.5}, Point{nan, 2}, Point{2, -huge}, Point{huge, 2}})
    CHECK_THROWS_AS(vision::extract_patch(image, p, 3), ValueError);
  CHECK_NOTHROW(vision::extract_patch(image, {8.49, 6.49}, 3));
  CHECK_THROWS_AS(vision::extract_patch(Image{}, {0, 0}, 3), ShapeError);
  CHECK_THROWS_AS(vision::extract_patch(image, {0, 0}, 0), ValueError);
  const std::vector<std::string> too_few{"a"};
  CHECK_THROWS_AS(vision::require_centres(image, centres, too_few), ShapeError);
  Image broken = image;
  broken.pixels.pop_back();
  CHECK_THROWS_AS(vision::extract_patch(broken, {0, 0}, 3), ShapeError);
}

TEST_CASE("extract_patches gives every spot its patch on any number of threads") {
  const Image image = coordinates(40, 30);
  std::vector<Point> centres;
  for (Index i = 0; i < 37; ++i) centres.push_back({static_cast<double>(i), static_cast<double>(i % 30)});
  for (const int threads : {1, 3}) {
    CpuContext context({.threads = threads});
    const auto patches = vision::extract_patches(context, image, centres, 6);
    REQUIRE(patches.size() == centres.size());
    for (std::size_t i = 0; i < centres.size(); ++i)
      CHECK(patches[i].pixels == vision::extract_patch(image, centres[i], 6).pixels);
  }
}

TEST_CASE("resample_window is the mean over shares of whole pixels") {
  const Image image = coordinates(60, 50);
  SUBCASE("factor one is extract_patch") {
    const Image same = vision::resample_window(image, {20, 21}, 7.0, 7);
    CHECK(same.pixels == vision::extract_patch(image, {20, 21}, 7).pixels);
  }
  SUBCASE("a linear ramp keeps its values") {
    // Shares of 3 x 3 pixels around 12, 15, ..., 27.
    const Image third = vision::resample_window(image, {19.5, 22.5}, 18.0, 6);
    for (Index k = 0; k < 6; ++k) {
      CHECK(third.at(k, 0)[0] == 12 + 3 * k);
      CHECK(third.at(0, k)[1] == 15 + 3 * k);
    }
  }
  SUBCASE("uneven shares, borders and enlargement hold the range of the image") {
    for (const double window : {0.3, 5.7, 77.3, 201.0})
      for (const Index size : {1, 4, 33}) {
        const Image zoom = vision::resample_window(image, {1.2, 48.7}, window, size);
        REQUIRE(zoom.width == size);
        for (Index y = 0; y < size; ++y)
          for (Index x = 0; x < size; ++x) {
            REQUIRE(zoom.at(x, y)[0] <= 59);
            REQUIRE(zoom.at(x, y)[1] <= 49);
          }
      }
  }
  CHECK_THROWS_AS(vision::resample_window(image, {1, 1}, 0.0, 4), ValueError);
  CHECK_THROWS_AS(vision::resample_window(image, {1, 1}, 8.0, 0), ValueError);
  CHECK_THROWS_AS(vision::resample_window(Image{}, {1, 1}, 8.0, 4), ShapeError);
}

TEST_CASE("reduce_image averages squares and cuts them at the border") {
  Image image = coordinates(10, 7);
  for (const int threads : {1, 3}) {
    CpuContext context({.threads = threads});
    const Image third = vision::reduce_image(context, image, 3);
    REQUIRE(third.width == 4);
    REQUIRE(third.height == 3);
    CHECK(third.at(0, 0)[0] == 1);
    CHECK(third.at(2, 1)[0] == 7);
    CHECK(third.at(2, 1)[1] == 4);
    CHECK(third.at(3, 2)[0] == 9);  // one column and one row are left
    CHECK(third.at(3, 2)[1] == 6);
    CHECK(vision::reduce_image(context, image, 1).pixels == image.pixels);
    CHECK(vision::reduce_image(context, image, 1000).width == 1);
    CHECK_THROWS_AS(vision::reduce_image(context, image, 0), ValueError);
    CHECK_THROWS_AS(vision::reduce_image(context, Image{}, 2), ShapeError);
  }
}
