#include <eosin/eosin.hpp>

#include <cstdio>

int main() {
  eosin::CpuContext context({.threads = 2});
  eosin::Matrix<double> matrix(3, 4);
  matrix.fill(0.5);
  const double sum = context.parallel_sum<double>(
      matrix.size(), 5, [&](eosin::Index begin, eosin::Index end) {
        return eosin::as_eigen(matrix.flat().segment(begin, end - begin)).sum();
      });
  std::printf("eosin %s: %g\n", eosin::version, sum);
  return sum == 6.0 ? 0 : 1;
}
