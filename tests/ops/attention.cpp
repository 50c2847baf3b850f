#include <eosin/ops/attention.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;
using testing::normal_matrix;

namespace {

/// Attention and its gradients with all matrices in place, in double.
struct Reference {
  Matrix<double> out, d_q, d_k, d_v;

  template <class T>
  Reference(const Matrix<T>& q, const Matrix<T>& k, const Matrix<T>& v, const Matrix<T>& d_out,
            const std::vector<Index>& offsets, Index heads, double scale)
      : out(q.rows(), q.cols()), d_q(q.rows(), q.cols()), d_k(q.rows(), q.cols()), d_v(q.rows(), q.cols()) {
    const Index width = q.cols() / heads;
    const auto at = [](const Matrix<T>& x, Index r, Index c) { return static_cast<double>(x(r, c)); };
    for (std::size_t s = 1; s < offsets.size(); ++s)
      for (Index c0 = 0; c0 < q.cols(); c0 += width)
        for (Index i = offsets[s - 1]; i < offsets[s]; ++i) {
          std::vector<double> p, dp;
          double largest = -std::numeric_limits<double>::infinity(), total = 0, mean = 0;
          for (Index j = offsets[s - 1]; j < offsets[s]; ++j) {
            double score = 0, upstream = 0;
            for (Index c = c0; c < c0 + width; ++c) {
              score += at(q, i, c) * at(k, j, c);
              upstream += at(d_out, i, c) * at(v, j, c);
            }
            p.push_back(score * scale);
            dp.push_back(upstream);
            largest = std::max(largest, p.back());
          }
          for (double& x : p) total += x = std::exp(x - largest);
          for (std::size_t j = 0; j < p.size(); ++j) mean += (p[j] /= total) * dp[j];
          for (std::size_t n = 0; n < p.size(); ++n) {
            const Index j = offsets[s - 1] + static_cast<Index>(n);
            const double d_score = p[n] * (dp[n] - mean) * scale;
            for (Index c = c0; c < c0 + width; ++c) {
              out(i, c) += p[n] * at(v, j, c);
              d_v(j, c) += p[n] * at(d_out, i, c);
              d_q(i, c) += d_score * at(k, j, c);
              d_k(j, c) += d_score * at(q, i, c);
            }
          }
        }
  }
};

template <class T>
struct Problem {
  Index heads, width;
  std::vector<Index> offsets;
  Matrix<T> q, k, v, d_out, out, log_sums, d_q, d_k, d_v;

  Problem(Index h, Index w, std::vector<Index> o, double spread = 1)
      : heads(h),
        width(w),
        offsets(std::move(o)),
        q(normal_matrix<T>(rows(), heads * width, 1, spread)),
        k(normal_matrix<T>(rows(), heads * width, 2, spread)),
        v(normal_matrix<T>(rows(), heads * width, 3)),
        d_out(normal_matrix<T>(rows(), heads * width, 4)),
        out(rows(), heads * width),
        log_sums(heads, rows()),
        d_q(rows(), heads * width),
        d_k(rows(), heads * width),
        d_v(rows(), heads * width) {}

  Index rows() const { return offsets.back(); }
  T scale() const { return static_cast<T>(1 / std::sqrt(static_cast<double>(width))); }
  void forward(CpuContext& context) {
    ops::attention<T>(context, q, k, v, offsets, heads, scale(), out.view(), log_sums.view());
  }
  void backward(CpuContext& context) {
    ops::attention_backward<T>(context, q, k, v, offsets, heads, scale(), out, log_sums, d_out, d_q.view(), d_k.view(),
                               d_v.view());
  }
};

}  // namespace

TEST_CASE_TEMPLATE("ops::attention: blocks, tails and ragged sentences equal the plain form", T, float, double) {
  const double tolerance = std::is_same_v<T, float> ? 4e-6 : 1e-13;
  CpuContext context({.threads = 2});
  struct Case {
    Index heads, width;
    std::vector<Index> offsets;
    double spread;
  };
  const Case cases[] = {{1, 1, {0, 1}, 1},       {2, 3, {0, 5}, 1},        {3, 16, {0, 0, 7, 7, 30}, 1},
                        {1, 17, {0, 192}, 1},    {2, 8, {0, 193, 200}, 1}, {1, 5, {0, 100, 700}, 1},
                        {8, 64, {0, 50, 90}, 1}, {2, 32, {0, 450}, 6},     {1, 7, {0, 1700}, 1}};
  for (const auto& c : cases) {
    CAPTURE(c.width);
    CAPTURE(c.offsets.back());
    Problem<T> p(c.heads, c.width, c.offsets, c.spread);
    p.forward(context);
    p.backward(context);
    const Reference want(p.q, p.k, p.v, p.d_out, p.offsets, p.heads, static_cast<double>(p.scale()));
    const double allowed = tolerance * c.spread * c.spread;
    CHECK(testing::relative_difference(p.out, want.out) <= allowed);
    CHECK(testing::relative_difference(p.d_q, want.d_q) <= allowed);
    CHECK(testing::relative_difference(p.d_k, want.d_k) <= allowed);
    CHECK(testing::relative_difference(p.d_v, want.d_v) <= allowed);
  }
}

TEST_CASE("ops::attention_backward: six-point differences") {
  CpuContext context({.threads = 2});
  Problem<double> p(2, 3, {0, 4, 4, 11}, 0.7);
  const auto value = [&] {
    p.forward(context);
    return testing::inner_product(p.out, p.d_out);
  };
  value();
  p.backward(context);
  CHECK(testing::gradient_error(p.q.flat(), std::as_const(p.d_q).flat(), value) <= testing::gradient_tolerance);
  CHECK(testing::gradient_error(p.k.flat(), std::as_const(p.d_k).flat(), value) <= testing::gradient_tolerance);
  CHECK(testing::gradient_error(p.v.flat(), std::as_const(p.d_v).flat(), value) <= testing::gradient_tolerance);
}

TEST_CASE("ops::attention: a sentence alone gives the same bits, as do any number of threads") {
  const std::vector<Index> offsets{0, 300, 300, 301, 1000};
  Problem<float> together(2, 12, offsets), threads(2, 12, offsets);
  CpuContext one({.threads = 1}), three({.threads = 3});
  together.forward(one);
  together.backward(one);
  threads.forward(three);
  threads.backward(three);
  CHECK(testing::same_bits(together.out, threads.out));
  CHECK(testing::same_bits(together.d_q, threads.d_q));
  CHECK(testing::same_bits(together.d_k, threads.d_k));
  CHECK(testing::same_bits(together.d_v, threads.d_v));
  for (std::size_t s = 1; s < offsets.size(); ++s) {
    const Index begin = offsets[s - 1], length = offsets[s] - begin;
    Problem<float> alone(2, 12, {0, length});
    const auto rows = [&](const Matrix<float>& m) {
      return testing::copy_of<float>(m.view().middle_rows(begin, length));
    };
    alone.q = rows(together.q);
    alone.k = rows(together.k);
    alone.v = rows(together.v);
    alone.d_out = rows(together.d_out);
    alone.forward(one);
    alone.backward(one);
    CHECK(testing::same_bits(alone.out, rows(together.out)));
    CHECK(testing::same_bits(alone.d_q, rows(together.d_q)));
    CHECK(testing::same_bits(alone.d_k, rows(together.d_k)));
    CHECK(testing::same_bits(alone.d_v, rows(together.d_v)));
  }
}

TEST_CASE("ops::attention: columns of one product, the log of the sums, the workspace it takes") {
  CpuContext context({.threads = 2});
  Problem<double> p(2, 5, {0, 40});
  p.forward(context);
  p.backward(context);
  Matrix<double> qkv(40, 30), d_qkv(40, 30), out(40, 12), log_sums(2, 40);
  out.fill(9);
  const auto part = [](auto view, Index i) { return view.middle_cols(10 * i, 10); };
  for (Index r = 0; r < 40; ++r)
    for (Index c = 0; c < 10; ++c) {
      qkv(r, c) = p.q(r, c);
      qkv(r, 10 + c) = p.k(r, c);
      qkv(r, 20 + c) = p.v(r, c);
    }
  const auto narrow = out.view().middle_cols(0, 10);
  ops::attention<double>(context, part(qkv.view(), 0), part(qkv.view(), 1), part(qkv.view(), 2), p.offsets, 2,
                         p.scale(), narrow, log_sums.view());
  ops::attention_backward<double>(context, part(qkv.view(), 0), part(qkv.view(), 1), part(qkv.view(), 2), p.offsets, 2,
                                  p.scale(), narrow, log_sums, p.d_out, part(d_qkv.view(), 0), part(d_qkv.view(), 1),
                                  part(d_qkv.view(), 2));
  CHECK(testing::same_bits(testing::copy_of<double>(narrow), p.out));
  for (Index r = 0; r < 40; ++r) {
    REQUIRE(out(r, 10) == 9);
    REQUIRE(out(r, 11) == 9);
  }
  CHECK(testing::same_bits(testing::copy_of<double>(part(d_qkv.view(), 1)), p.d_k));
  double sum = 0;
  for (Index j = 0; j < 40; ++j) {
    double score = 0;
    for (Index c = 0; c < 5; ++c) score += p.q(3, c) * p.k(j, c);
    sum += std::exp(score * p.scale());
  }
  CHECK(log_sums(0, 3) == doctest::Approx(std::log(sum)).epsilon(1e-12));
  // Linear in the length: a copy of dQ, a number per row and head, and the blocks of the threads.
  CpuContext fresh({.threads = 2});
  Problem<float> longer(8, 4, {0, 4000});
  longer.forward(fresh);
  longer.backward(fresh);
  CHECK(fresh.workspace().capacity() < 4000 * 8 * 5 * 4 + 2 * 1500000);
}

TEST_CASE("ops::attention: large logits, NaN, no rows, errors") {
  CpuContext context({.threads = 2});
  Problem<float> sharp(1, 4, {0, 250}, 60);
  sharp.forward(context);
  sharp.backward(context);
  for (Index i = 0; i < sharp.out.size(); ++i) {
    REQUIRE(std::isfinite(sharp.out.data()[i]));
    REQUIRE(std::isfinite(sharp.d_q.data()[i]));
  }
  Problem<float> broken(1, 4, {0, 250});
  broken.k(130, 2) = std::numeric_limits<float>::quiet_NaN();
  broken.forward(context);
  for (Index i = 0; i < broken.out.size(); ++i) REQUIRE(std::isnan(broken.out.data()[i]));
  Problem<float> none(2, 4, {0, 0});
  CHECK_NOTHROW(none.forward(context));
  CHECK_NOTHROW(none.backward(context));
  Problem<float> p(2, 4, {0, 6});
  p.offsets = {0, 4, 3, 6};
  CHECK_THROWS_WITH_AS(p.forward(context), "attention: offsets descend at sentence 1", ValueError);
  p.offsets = {0, 5};
  CHECK_THROWS_WITH_AS(p.forward(context), "attention: offsets must begin with 0 and end with the number of rows, 6",
                       ValueError);
  p.offsets = {0, 6};
  p.heads = 3;
  CHECK_THROWS_WITH_AS(p.forward(context), "attention: q has 8 columns, which 3 heads do not divide", ValueError);
}
