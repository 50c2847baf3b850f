// The nearest keys on the device against the processor: similarities that are exact in both, so that every tie is a tie
// in both, and similarities that are rounded.

#include <eosin/retrieval/top_k.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <limits>

using namespace eosin;
using namespace eosin::testing;

namespace {

struct Case {
  Index keys, queries, width, k;
  /// What the device prepares keys by; 0: as much as it likes.
  Index chunk_bytes;
};

template <class T>
struct Nearest {
  Matrix<Index> indices;
  Matrix<T> similarity;
};

template <class T>
Nearest<T> on_processor(const Case& c, const Matrix<T>& keys, const Matrix<T>& queries) {
  CpuContext cpu({.threads = 1});
  Nearest<T> nearest{Matrix<Index>(c.queries, c.k), Matrix<T>(c.queries, c.k)};
  retrieval::top_k<T>(cpu, keys, queries, c.k, nearest.indices.view(), nearest.similarity.view());
  return nearest;
}

template <class T>
Nearest<T> on_gpu(const Case& c, const Matrix<T>& keys, const Matrix<T>& queries) {
  CudaContext gpu;
  const auto keys_d = on_device(gpu, keys.view()), queries_d = on_device(gpu, queries.view());
  Matrix<Index, Device> indices(c.queries, c.k);
  Matrix<T, Device> similarity(c.queries, c.k);
  const MatrixView<const T, Device> keys_view = keys_d.view();
  if (c.chunk_bytes == 0) {
    retrieval::top_k<T>(gpu, keys_view, queries_d.view(), c.k, indices.view(), similarity.view());
  } else {
    retrieval::detail::device_top_k<T>(gpu, keys_view, queries_d.view(), c.k, indices.view(), similarity.view(),
                                       c.chunk_bytes);
  }
  return {on_host(gpu, indices.view()), on_host(gpu, similarity.view())};
}

}  // namespace

TEST_CASE_TEMPLATE("top_k: the same keys as on the processor, ties included", T, float, double) {
  // Rows of 16 signs, scaled: unit rows are quarters, similarities multiples of an eighth, all sums exact.
  for (const Case& c : {Case{1, 1, 16, 1, 0}, Case{5, 3, 16, 5, 0}, Case{131, 3, 16, 7, 0}, Case{131, 130, 16, 7, 0},
                        Case{700, 9, 16, 40, 0}, Case{1100, 5, 16, 300, 20000}, Case{2100, 3, 16, 10, 40000}}) {
    if (!affordable(c.keys * c.queries)) continue;
    CAPTURE(c.keys);
    const auto signs = [&](Index rows, std::uint64_t seed) {
      auto x = normal_matrix<T>(rows, c.width, seed);
      for (Index r = 0; r < rows; ++r)
        for (Index j = 0; j < c.width; ++j) x(r, j) = (x(r, j) < 0 ? T(-1) : T(1)) * static_cast<T>(1 << r % 3);
      return x;
    };
    const auto keys = signs(c.keys, 1), queries = signs(c.queries, 2);
    const auto want = on_processor<T>(c, keys, queries);
    in_every_order([&] {
      const auto got = on_gpu<T>(c, keys, queries);
      CHECK(same_bits(got.indices, want.indices));
      CHECK(same_bits(got.similarity, want.similarity));
    });
  }
}

TEST_CASE_TEMPLATE("top_k: rounded similarities", T, float, double) {
  const double tolerance = std::is_same_v<T, float> ? 1e-6 : 1e-14;
  for (const Case& c : {Case{200, 66, 1, 3, 0}, Case{300, 70, 37, 20, 0}, Case{640, 2, 19, 640, 30000}}) {
    if (!affordable(c.keys * c.queries)) continue;
    CAPTURE(c.keys);
    auto keys = normal_matrix<T>(c.keys, c.width, 3);
    const auto queries = normal_matrix<T>(c.queries, c.width, 4);
    // Rows that come twice, far apart.
    for (Index j = 0; j < c.width; ++j) keys(c.keys - 1, j) = keys(2, j);
    const auto want = on_processor<T>(c, keys, queries);
    in_every_order([&] {
      const auto got = on_gpu<T>(c, keys, queries);
      CHECK(relative_difference(got.similarity, want.similarity) < tolerance);
      for (Index q = 0; q < c.queries; ++q)
        for (Index j = 0; j < c.k; ++j) {
          if (j > 0) REQUIRE(got.similarity(q, j - 1) >= got.similarity(q, j));
          if (j > 0 && got.similarity(q, j - 1) == got.similarity(q, j))
            REQUIRE(got.indices(q, j - 1) < got.indices(q, j));
          // The other key only where the two differ by rounding.
          if (got.indices(q, j) == want.indices(q, j)) continue;
          double dot = 0, left = 0, right = 0;
          for (Index i = 0; i < c.width; ++i) {
            const double a = static_cast<double>(keys(got.indices(q, j), i)), b = static_cast<double>(queries(q, i));
            dot += a * b;
            left += a * a;
            right += b * b;
          }
          REQUIRE(std::abs(dot / std::sqrt(left * right) - static_cast<double>(want.similarity(q, j))) < tolerance);
        }
    });
  }
}

TEST_CASE("top_k on the device: no queries, no length, no number; what is wrong") {
  CudaContext gpu;
  Matrix<float> host(9, 4);
  for (Index r = 0; r < 9; ++r) host(r, 0) = static_cast<float>(r);
  host(4, 1) = std::numeric_limits<float>::quiet_NaN();
  const auto keys = on_device(gpu, host.view());
  const MatrixView<const float, Device> view = keys.view();
  Matrix<float, Device> none(0, 4), zeros(2, 4), narrow(2, 3), similarity(2, 9);
  Matrix<Index, Device> no_indices(0, 3), indices(2, 9);
  retrieval::top_k<float>(gpu, view, none.view(), 3, no_indices.view(), {});
  // A query without direction: all keys are equal, but one is not comparable.
  retrieval::top_k<float>(gpu, view, zeros.view(), 9, indices.view(), similarity.view());
  const auto order = on_host(gpu, indices.view());
  for (Index j = 0; j < 8; ++j) CHECK(order(1, j) == (j < 4 ? j : j + 1));
  CHECK(order(1, 8) == -1);
  CHECK(on_host(gpu, similarity.view())(0, 8) == -std::numeric_limits<float>::infinity());
  CHECK_THROWS_AS(retrieval::top_k<float>(gpu, view, narrow.view(), 9, indices.view(), {}), ShapeError);
  CHECK_THROWS_AS(retrieval::top_k<float>(gpu, view, zeros.view(), 8, indices.view(), {}), ShapeError);
  CHECK_THROWS_AS(retrieval::top_k<float>(gpu, view, zeros.view(), 10, indices.view(), {}), ValueError);
}
