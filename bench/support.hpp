#pragma once

// What the benchmarks share: threads, the matrix-product backends of this build, timing, peak memory, the matrix
// products of an MLP, the best product rate of this machine.

#include <eosin/core/buffer.hpp>
#include <eosin/core/random.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/gemm_eigen.hpp>
#if defined(EOSIN_HAS_CBLAS)
#include <eosin/ops/gemm_cblas.hpp>
#endif
#if defined(EOSIN_HAS_ONEDNN)
#include <eosin/ops/gemm_onednn.hpp>
#endif

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace bench {

using eosin::CpuContext;
using eosin::Index;
using eosin::Matrix;
using eosin::MatrixView;
using eosin::Transpose;
using eosin::Vector;

/// EOSIN_THREADS, by default 2.
inline int threads() {
  int value = 0;
  if (const char* text = std::getenv("EOSIN_THREADS"))
    std::from_chars(text, text + std::string_view(text).size(), value);
  return value > 0 ? value : 2;
}

struct Backend {
  std::string name;
  const eosin::GemmBackend* gemm;
};

/// The library's own product, Eigen and what the build found.
inline const std::vector<Backend>& backends() {
  static const std::vector<Backend> all = [] {
    static const eosin::ops::EigenGemm eigen;
    std::vector<Backend> found{{"own", nullptr}, {eigen.name(), &eigen}};
#if defined(EOSIN_HAS_CBLAS)
    static const eosin::ops::CblasGemm cblas;
    found.push_back({cblas.name(), &cblas});
#endif
#if defined(EOSIN_HAS_ONEDNN)
    static const eosin::ops::OneDnnGemm onednn;
    found.push_back({onednn.name(), &onednn});
#endif
    return found;
  }();
  return all;
}

/// Whether the backend multiplies bf16 numbers with instructions of this processor.
inline bool has_bf16(const Backend& backend) {
  if (backend.gemm == nullptr) return false;
  const Matrix<eosin::BFloat16> a(64, 64), b(64, 64);
  Matrix<float> c(64, 64);
  return backend.gemm->gemm(Transpose::no, Transpose::no, a, b, 0.0f, c.view());
}

template <class T>
Matrix<T> normal_matrix(Index rows, Index cols, std::uint64_t seed = 1, double deviation = 1) {
  Matrix<T> m(rows, cols);
  eosin::RandomStream random(seed);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(deviation * random.normal());
  return m;
}

/// Prototypes T0 [types x genes]: a gamma level per gene with gamma noise per type; mean 1.
inline Matrix<double> prototypes(Index types, Index genes) {
  Matrix<double> t(types, genes);
  eosin::RandomStream random(5);
  for (Index g = 0; g < genes; ++g) {
    const double level = 0.01 + random.gamma(0.5, 2);
    for (Index c = 0; c < types; ++c) t(c, g) = level * (0.1 + random.gamma(1, 0.9));
  }
  return t;
}

template <class F>
double seconds_of(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Median of a_i / b_i.
inline double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) ratios[i] = a[i] / b[i];
  return median(std::move(ratios));
}

/// Highest resident memory of the process since reset() or its start, in bytes; 0 where the kernel does not say.
class PeakMemory {
 public:
  /// Gives freed memory of earlier benchmarks back first, which would count otherwise. False where the kernel does not
  /// allow a reset: the peak then counts from the start of the process.
  static bool reset() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
    std::ofstream file("/proc/self/clear_refs");
    file << 5 << std::flush;
    return static_cast<bool>(file);
  }
  static double bytes() {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);)
      if (line.starts_with("VmHWM:")) {
        const auto digit = line.find_first_of("0123456789");
        long kibibytes = 0;
        if (digit != std::string::npos) std::from_chars(line.data() + digit, line.data() + line.size(), kibibytes);
        return 1024.0 * static_cast<double>(kibibytes);
      }
    return 0;
  }
};

/// The matrix products of one forward and backward pass of an MLP over [rows x sizes.front()], in the order and the
/// forms of layers/mlp.hpp, and nothing else: y = x W^T; dW += dy^T x; dx = dy W (not for the first layer).
class MlpProducts {
 public:
  MlpProducts(Index rows, const std::vector<Index>& sizes) {
    for (std::size_t i = 1; i < sizes.size(); ++i) {
      activations_.push_back(normal_matrix<float>(rows, sizes[i], i));
      weights_.push_back(normal_matrix<float>(sizes[i], sizes[i - 1], i, 0.01));
      gradients_.emplace_back(sizes[i], sizes[i - 1]);
      operations_ += static_cast<double>((i > 1 ? 6 : 4) * rows * sizes[i] * sizes[i - 1]);
    }
  }

  double operations() const { return operations_; }

  void run(CpuContext& context, MatrixView<const float> x) {
    const std::size_t layers = weights_.size();
    for (std::size_t i = 0; i < layers; ++i)
      eosin::ops::gemm<float>(context, Transpose::no, Transpose::yes, 1, input(x, i), weights_[i], 0,
                              activations_[i].view());
    for (std::size_t i = layers; i-- > 0;) {
      const MatrixView<const float> upstream = activations_[i];
      eosin::ops::gemm<float>(context, Transpose::yes, Transpose::no, 1, upstream, input(x, i), 1,
                              gradients_[i].view());
      if (i > 0)
        eosin::ops::gemm<float>(context, Transpose::no, Transpose::no, 1, upstream, weights_[i], 0,
                                activations_[i - 1].view());
    }
  }

 private:
  MatrixView<const float> input(MatrixView<const float> x, std::size_t layer) const {
    return layer == 0 ? x : activations_[layer - 1].view();
  }

  std::vector<Matrix<float>> activations_, weights_, gradients_;
  double operations_ = 0;
};

/// One matrix product of the models: C [m x n] of inner length k.
struct Product {
  const char* name;
  Transpose a, b;
  Index m, n, k;

  double operations() const { return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k); }
};

/// The products of a CPNN step on 4,096 patches; D = 512 and 1536, hidden 1024-512, 29 types, 2,000 genes (head).
inline const std::vector<Product>& products() {
  constexpr auto no = Transpose::no, yes = Transpose::yes;
  static const std::vector<Product> all{
      {"forward_512_1024", no, yes, 4096, 1024, 512}, {"forward_1536_1024", no, yes, 4096, 1024, 1536},
      {"forward_1024_512", no, yes, 4096, 512, 1024}, {"forward_512_29", no, yes, 4096, 29, 512},
      {"input_512_1024", no, no, 4096, 1024, 512},    {"input_29_512", no, no, 4096, 512, 29},
      {"weight_1024_512", yes, no, 1024, 512, 4096},  {"weight_1024_1536", yes, no, 1024, 1536, 4096},
      {"weight_512_1024", yes, no, 512, 1024, 4096},  {"weight_29_512", yes, no, 29, 512, 4096},
      {"pearson_cross", yes, no, 29, 2000, 4096},     {"pearson_gradient", no, yes, 4096, 29, 2000}};
  return all;
}

/// Operands and result of a product.
struct ProductData {
  explicit ProductData(const Product& p)
      : a(p.a == Transpose::yes ? normal_matrix<float>(p.k, p.m, 1) : normal_matrix<float>(p.m, p.k, 1)),
        b(p.b == Transpose::yes ? normal_matrix<float>(p.n, p.k, 2) : normal_matrix<float>(p.k, p.n, 2)),
        c(p.m, p.n) {}
  void run(CpuContext& context, const Product& p) { eosin::ops::gemm<float>(context, p.a, p.b, 1, a, b, 0, c.view()); }
  Matrix<float> a, b, c;
};

/// The best single-precision rate, in operations per second, that any backend reaches in any product of the step
/// (median of five runs). Measured once per process.
inline double best_product_rate() {
  static const double best = [] {
    double rate = 0;
    for (const Product& product : products()) {
      if (product.operations() < 1e9) continue;
      ProductData data(product);
      for (const Backend& backend : backends()) {
        CpuContext context({.threads = threads(), .gemm = backend.gemm});
        std::vector<double> seconds;
        for (int run = 0; run < 6; ++run) seconds.push_back(seconds_of([&] { data.run(context, product); }));
        seconds.erase(seconds.begin());
        rate = std::max(rate, product.operations() / median(seconds));
      }
    }
    return rate;
  }();
  return best;
}

}  // namespace bench
