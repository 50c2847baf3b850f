#include <eosin/glm/group_sums.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::GroupSums: tables, series and direct sums against long double") {
  // One group with size factors over six decades, one narrow, one too small for a table.
  std::vector<Index> type;
  std::vector<double> s;
  for (int i = 0; i < 300; ++i) {
    type.push_back(0);
    s.push_back(std::pow(10.0, -3.0 + 6.0 * i / 299.0));
  }
  for (int i = 0; i < 100; ++i) {
    type.push_back(1);
    s.push_back(0.5 + 0.01 * i);
  }
  for (int i = 0; i < 5; ++i) {
    type.push_back(2);
    s.push_back(1.0 + i);
  }
  const glm::Design design(glm::Categories::from_codes(type));
  const glm::CellGroups groups(design, s);
  CpuContext context({.threads = 2});
  const glm::GroupSums sums(context, groups, 24);
  for (Index k = 0; k < 3; ++k) {
    CAPTURE(k);
    double worst = 0.0;
    for (double exponent = -18.0; exponent < 14.0; exponent += 0.0371) {
      const double a = std::pow(10.0, exponent);
      long double s1 = 0, p = 0, t = 0, v = 0, l = 0;
      for (Index i = 0; i < groups.size_factors(k).size(); ++i) {
        const long double f = groups.size_factors(k)[i], x = a * f, q = 1 + x;
        s1 += f / q;
        p += f / (q * q);
        v += f * f / (q * q);
        long double tau = 0;
        if (x > 0.01L) {
          tau = (std::log1p(x) - x / q) / (x * x);
        } else {
          for (int m = 12; m >= 2; --m) tau = static_cast<long double>(m - 1) / m - x * tau;
        }
        t += f * f * tau;
        l += std::log1p(x) / a;
      }
      const auto got = sums.values(k, a);
      const auto error = [&](double value, long double expected) {
        worst = std::max(worst, std::abs(static_cast<double>((value - expected) / expected)));
      };
      error(got.s, s1);
      error(got.p, p);
      error(got.t, t);
      error(got.v, v);
      error(sums.log_sum(k, a), l);
    }
    CHECK(worst < 1e-13);
    const auto zero = sums.values(k, 0.0);
    CHECK(zero.s == sums.sum_of_size_factors(k));
    CHECK(zero.p == sums.sum_of_size_factors(k));
    CHECK(zero.t == 0.5 * sums.sum_of_squares(k));
    CHECK(sums.log_sum(k, 0.0) == sums.sum_of_size_factors(k));
  }
}
