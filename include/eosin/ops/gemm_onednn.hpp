#pragma once

// oneDNN (libdnnl, 2.x and 3.x) behind ops::gemm: float through dnnl_sgemm, bfloat16 through the matmul primitive where
// the processor has bf16 instructions, double through the library's own product (oneDNN has none). Link the CMake target
// eosin::onednn.

#include <eosin/core/buffer.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/onednn_calls.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

class OneDnnGemm final : public GemmBackend {
 public:
  /// `emulate_bf16`: take oneDNN's bf16 product even where the processor emulates it (for tests of that path).
  explicit OneDnnGemm(bool emulate_bf16 = false)
      : bf16_(emulate_bf16 || (dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_bf16)) {}

  const char* name() const override { return "oneDNN"; }

  void gemm(Transpose ta, Transpose tb, float alpha, MatrixView<const float> a, MatrixView<const float> b, float beta,
            MatrixView<float> c) const override {
    detail::use_this_thread_alone();
    const Index inner = ta == Transpose::yes ? a.rows() : a.cols();
    if (ta == Transpose::yes && tb == Transpose::no && c.cols() >= 64) {
      // X^T Y, the product of every weight gradient, is the one form that oneDNN's kernel does at two thirds of its
      // rate. Transposing X panel by panel, short enough that it stays in the cache, costs 2 % and brings X Y's rate.
      constexpr Index panel = 128;
      constexpr Index stride = panel + 16;  // a power of two would send all rows to the same few cache sets
      thread_local Buffer<float> scratch;
      if (scratch.size() < c.rows() * stride) scratch = Buffer<float>(c.rows() * stride);
      for (Index begin = 0; begin < inner; begin += panel) {
        const Index count = std::min(panel, inner - begin);
        const MatrixView<float> left(scratch.data(), c.rows(), count, stride);
        transpose(a.middle_rows(begin, count), left);
        sgemm('N', 'N', count, alpha, left, b.middle_rows(begin, count), begin == 0 ? beta : 1.0f, c);
      }
      return;
    }
    sgemm(letter(ta), letter(tb), inner, alpha, a, b, beta, c);
  }

  void gemm(Transpose ta, Transpose tb, double alpha, MatrixView<const double> a, MatrixView<const double> b,
            double beta, MatrixView<double> c) const override {
    detail::packed_product<double>(ta, tb, alpha, a, b, beta, c);
  }

  bool gemm(Transpose ta, Transpose tb, MatrixView<const BFloat16> a, MatrixView<const BFloat16> b, float beta,
            MatrixView<float> c) const override {
    if (!bf16_) return false;
    detail::use_this_thread_alone();
    const detail::SignalsHeld held;
    // Matrices of these shapes come back in every step; oneDNN caches the generated code, this the rest.
    thread_local const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    thread_local dnnl::stream stream(engine);
    thread_local std::unordered_map<std::string, dnnl::matmul> cache;
    using Memory = dnnl::memory;
    const auto layout = [](Transpose t, Index rows, Index cols, Index stride, Memory::data_type type) {
      return Memory::desc({rows, cols}, type, t == Transpose::yes ? Memory::dims{1, stride} : Memory::dims{stride, 1});
    };
    const Index inner = ta == Transpose::yes ? a.rows() : a.cols();
    const auto a_layout = layout(ta, c.rows(), inner, leading(a), Memory::data_type::bf16);
    const auto b_layout = layout(tb, inner, c.cols(), leading(b), Memory::data_type::bf16);
    const auto c_layout = layout(Transpose::no, c.rows(), c.cols(), leading(c), Memory::data_type::f32);
    std::string key;
    for (const Index number : {c.rows(), c.cols(), inner, leading(a), leading(b), leading(c),
                               Index{ta == Transpose::yes}, Index{tb == Transpose::yes}, Index{beta != 0.0f}})
      key += std::to_string(number) + ' ';
    auto found = cache.find(key);
    if (found == cache.end()) {
      dnnl::primitive_attr attributes;
      if (beta != 0.0f) {
        dnnl::post_ops post;
        post.append_sum(1.0f);
        attributes.set_post_ops(post);
      }
#if DNNL_VERSION_MAJOR >= 3
      const dnnl::matmul::primitive_desc description(engine, a_layout, b_layout, c_layout, attributes);
#else
      const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a_layout, b_layout, c_layout), attributes,
                                                     engine);
#endif
      found = cache.emplace(key, dnnl::matmul(description)).first;
    }
    found->second.execute(stream, {{DNNL_ARG_SRC, Memory(a_layout, engine, const_cast<BFloat16*>(a.data()))},
                                   {DNNL_ARG_WEIGHTS, Memory(b_layout, engine, const_cast<BFloat16*>(b.data()))},
                                   {DNNL_ARG_DST, Memory(c_layout, engine, c.data())}});
    stream.wait();
    return true;
  }

 private:
  static void sgemm(char ta, char tb, Index inner, float alpha, MatrixView<const float> a, MatrixView<const float> b,
                    float beta, MatrixView<float> c) {
    const detail::SignalsHeld held;
    const auto status = dnnl_sgemm(ta, tb, c.rows(), c.cols(), inner, alpha, a.data(), leading(a), b.data(), leading(b),
                                   beta, c.data(), leading(c));
    if (status != dnnl_success) throw Error("oneDNN: sgemm failed with status " + std::to_string(int(status)));
  }

  /// out(c, r) = in(r, c), squares of one register width at a time.
  static void transpose(MatrixView<const float> in, MatrixView<float> out) {
    constexpr Index size = detail::RegisterSquare<float>::size;
    const Index full_rows = in.rows() / size * size, full_cols = in.cols() / size * size;
    for (Index r = 0; r < full_rows; r += size)
      for (Index c = 0; c < full_cols; c += size) {
        detail::RegisterSquare<float> square;
        for (Index i = 0; i < size; ++i) square.load(i, &in(r + i, c));
        square.transpose();
        for (Index i = 0; i < size; ++i) square.store(i, &out(c + i, r));
      }
    for (Index r = 0; r < in.rows(); ++r)
      for (Index c = r < full_rows ? full_cols : 0; c < in.cols(); ++c) out(c, r) = in(r, c);
  }

  static char letter(Transpose t) {
    return t == Transpose::yes ? 'T' : 'N';
  }
  template <class T>
  static Index leading(const MatrixView<T>& m) {
    return std::max<Index>(1, m.stride());
  }
  bool bf16_;
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
