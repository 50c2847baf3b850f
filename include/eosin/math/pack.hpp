#pragma once

// Packs: one register of floats or doubles with the arithmetic of a number. The functions of math/ are templates over
// the number type V, which is float or double (scalar code, kernels) or Pack<float>, Pack<double> (loops on the
// processor). So a formula has one home, and loops run at full width at -O2 without leaning on the auto-vectoriser,
// which gives up on selects as long as floating-point operations may trap.
//
// A pack is as wide as the registers the unit is compiled for: 64 bytes with AVX-512, 32 with AVX2 and FMA, else 16. CUDA
// compilers know no vector types in functions that may run on the device: in their units a pack holds one number, and
// loops on the processor run one at a time. Keep those that must be fast in units of their own.

#include <eosin/core/config.hpp>

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__SSE2__) && !defined(__CUDACC__)
#include <immintrin.h>
#endif

/// For the small functions that loops are made of. Sanitizers instrument every inlined copy, which takes compilers
/// minutes, and unoptimised code gains nothing: there the functions stay functions.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define EOSIN_ALWAYS_INLINE
#endif
#endif
#if !defined(EOSIN_ALWAYS_INLINE)
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EOSIN_ALWAYS_INLINE __attribute__((always_inline))
#else
#define EOSIN_ALWAYS_INLINE
#endif
#endif

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

#if defined(__CUDACC__)
#elif defined(__AVX512F__)
#define EOSIN_PACK_AVX512 1
inline constexpr int pack_bytes = 64;
#elif defined(__AVX2__) && defined(__FMA__)
#define EOSIN_PACK_AVX2 1
inline constexpr int pack_bytes = 32;
#else
inline constexpr int pack_bytes = 16;
#endif

namespace detail {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using Unsigned = std::uint32_t;
  using Signed = std::int32_t;
};
template <>
struct BitsOf<double> {
  using Unsigned = std::uint64_t;
  using Signed = std::int64_t;
};

#if defined(__CUDACC__)
/// One number with the face of a register.
template <class T>
struct OneLane {
  T value;
  EOSIN_HOST_DEVICE T& operator[](Index) { return value; }
  EOSIN_HOST_DEVICE const T& operator[](Index) const { return value; }
};
#else
template <class T, int Bytes = pack_bytes>
struct RegisterOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
#endif

}  // namespace detail

#if defined(__CUDACC__)

template <std::floating_point T>
struct PackMask {
  bool lanes;

  friend EOSIN_HOST_DEVICE inline PackMask operator&&(PackMask a, PackMask b) { return {a.lanes && b.lanes}; }
  friend EOSIN_HOST_DEVICE inline PackMask operator||(PackMask a, PackMask b) { return {a.lanes || b.lanes}; }
  friend EOSIN_HOST_DEVICE inline PackMask operator!(PackMask a) { return {!a.lanes}; }
};

template <std::floating_point T>
struct Pack {
  using Element = T;
  using Register = detail::OneLane<T>;
  static constexpr Index size = 1;

  Register lanes;

  Pack() = default;
  EOSIN_HOST_DEVICE Pack(Register value) : lanes(value) {}
  template <class Number>
  requires std::is_arithmetic_v<Number> EOSIN_HOST_DEVICE Pack(Number value) : lanes{static_cast<T>(value)} {}

  friend EOSIN_HOST_DEVICE inline Pack operator+(Pack a, Pack b) { return a.lanes.value + b.lanes.value; }
  friend EOSIN_HOST_DEVICE inline Pack operator-(Pack a, Pack b) { return a.lanes.value - b.lanes.value; }
  friend EOSIN_HOST_DEVICE inline Pack operator*(Pack a, Pack b) { return a.lanes.value * b.lanes.value; }
  friend EOSIN_HOST_DEVICE inline Pack operator/(Pack a, Pack b) { return a.lanes.value / b.lanes.value; }
  friend EOSIN_HOST_DEVICE inline Pack operator-(Pack a) { return -a.lanes.value; }
  friend EOSIN_HOST_DEVICE inline PackMask<T> operator<(Pack a, Pack b) { return {a.lanes.value < b.lanes.value}; }
  friend EOSIN_HOST_DEVICE inline PackMask<T> operator>(Pack a, Pack b) { return {a.lanes.value > b.lanes.value}; }
  friend EOSIN_HOST_DEVICE inline PackMask<T> operator<=(Pack a, Pack b) { return {a.lanes.value <= b.lanes.value}; }
  friend EOSIN_HOST_DEVICE inline PackMask<T> operator>=(Pack a, Pack b) { return {a.lanes.value >= b.lanes.value}; }
  friend EOSIN_HOST_DEVICE inline PackMask<T> operator==(Pack a, Pack b) { return {a.lanes.value == b.lanes.value}; }
};

#else

/// Result of comparing two packs, one truth value per lane.
template <std::floating_point T>
struct PackMask {
  using Register = typename detail::RegisterOf<typename detail::BitsOf<T>::Signed>::type;
  Register lanes;

  friend inline EOSIN_ALWAYS_INLINE PackMask operator&&(PackMask a, PackMask b) { return {a.lanes & b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask operator||(PackMask a, PackMask b) { return {a.lanes | b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask operator!(PackMask a) { return {~a.lanes}; }
};

/// One register of T. Converts from any number, which then stands in every lane.
template <std::floating_point T>
struct Pack {
  using Element = T;
  using Register = typename detail::RegisterOf<T>::type;
  static constexpr Index size = pack_bytes / static_cast<int>(sizeof(T));

  Register lanes;

  Pack() = default;
  EOSIN_ALWAYS_INLINE Pack(Register value) : lanes(value) {}
  template <class Number>
  requires std::is_arithmetic_v<Number> EOSIN_ALWAYS_INLINE Pack(Number value)
      : lanes(static_cast<T>(value) - Register{}) {}

  friend inline EOSIN_ALWAYS_INLINE Pack operator+(Pack a, Pack b) { return a.lanes + b.lanes; }
  friend inline EOSIN_ALWAYS_INLINE Pack operator-(Pack a, Pack b) { return a.lanes - b.lanes; }
  friend inline EOSIN_ALWAYS_INLINE Pack operator*(Pack a, Pack b) { return a.lanes * b.lanes; }
  friend inline EOSIN_ALWAYS_INLINE Pack operator/(Pack a, Pack b) { return a.lanes / b.lanes; }
  friend inline EOSIN_ALWAYS_INLINE Pack operator-(Pack a) { return -a.lanes; }
  friend inline EOSIN_ALWAYS_INLINE PackMask<T> operator<(Pack a, Pack b) { return {a.lanes < b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask<T> operator>(Pack a, Pack b) { return {a.lanes > b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask<T> operator<=(Pack a, Pack b) { return {a.lanes <= b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask<T> operator>=(Pack a, Pack b) { return {a.lanes >= b.lanes}; }
  friend inline EOSIN_ALWAYS_INLINE PackMask<T> operator==(Pack a, Pack b) { return {a.lanes == b.lanes}; }
};

#endif

namespace detail {

template <class V>
struct NumberTraits {
  using Element = V;
  using Unsigned = typename BitsOf<V>::Unsigned;
  using Signed = typename BitsOf<V>::Signed;
};
template <class T>
struct NumberTraits<Pack<T>> {
  using Element = T;
#if defined(__CUDACC__)
  using Unsigned = typename BitsOf<T>::Unsigned;
  using Signed = typename BitsOf<T>::Signed;
#else
  using Unsigned = typename RegisterOf<typename BitsOf<T>::Unsigned>::type;
  using Signed = typename RegisterOf<typename BitsOf<T>::Signed>::type;
#endif
};

}  // namespace detail

/// float or double behind a number type.
template <class V>
using ElementOf = typename detail::NumberTraits<V>::Element;
/// Unsigned integers of the same width, a pack of them for a pack.
template <class V>
using UnsignedOf = typename detail::NumberTraits<V>::Unsigned;
template <class V>
using SignedOf = typename detail::NumberTraits<V>::Signed;

/// float, double, or a pack of them.
template <class V>
concept Number = std::same_as < ElementOf<V>,
float > || std::same_as<ElementOf<V>, double>;

/// Digits of the format: bits of the stored fraction, exponent bias.
template <class T>
inline constexpr int fraction_bits = std::same_as<T, float> ? 23 : 52;
template <class T>
inline constexpr int exponent_bias = std::same_as<T, float> ? 127 : 1023;

// ---- choice

template <class T>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE Pack<T> select(PackMask<T> condition, Pack<T> yes,
                                                            std::type_identity_t<Pack<T>> no) {
  return condition.lanes ? yes.lanes : no.lanes;
}
template <std::floating_point T>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE T select(bool condition, T yes, std::type_identity_t<T> no) {
  return condition ? yes : no;
}

/// Whether the condition holds in some lane.
template <class T>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE bool any(PackMask<T> mask) {
#if defined(__CUDACC__)
  return mask.lanes;
#elif defined(EOSIN_PACK_AVX512)
  const auto lanes = reinterpret_cast<__m512i>(mask.lanes);
  return _mm512_test_epi32_mask(lanes, lanes) != 0;
#elif defined(EOSIN_PACK_AVX2)
  return _mm256_movemask_epi8(reinterpret_cast<__m256i>(mask.lanes)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_epi8(reinterpret_cast<__m128i>(mask.lanes)) != 0;
#else
  bool found = false;
  for (Index i = 0; i < Pack<T>::size; ++i) found = found || mask.lanes[i] != 0;
  return found;
#endif
}
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE bool any(bool condition) {
  return condition;
}

// ---- bit patterns

template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE UnsignedOf<V> to_bits(V x) {
  if constexpr (std::floating_point<V>) {
    return std::bit_cast<UnsignedOf<V>>(x);
  } else {
    return std::bit_cast<UnsignedOf<V>>(x.lanes);
  }
}
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V from_bits(UnsignedOf<V> bits) {
  if constexpr (std::floating_point<V>) {
    return std::bit_cast<V>(bits);
  } else {
    return V(std::bit_cast<typename V::Register>(bits));
  }
}

/// Correctly rounded.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V square_root(V x) {
  if constexpr (std::floating_point<V>) {
    return std::sqrt(x);
#if defined(EOSIN_PACK_AVX512)
  } else if constexpr (std::same_as<V, Pack<float>>) {
    return V(_mm512_maskz_sqrt_ps(0xffff, x.lanes));
  } else if constexpr (std::same_as<V, Pack<double>>) {
    return V(_mm512_maskz_sqrt_pd(0xff, x.lanes));
#elif defined(EOSIN_PACK_AVX2)
  } else if constexpr (std::same_as<V, Pack<float>>) {
    return V(_mm256_sqrt_ps(x.lanes));
  } else if constexpr (std::same_as<V, Pack<double>>) {
    return V(_mm256_sqrt_pd(x.lanes));
#endif
  } else {
    V result;
    for (Index i = 0; i < V::size; ++i) result.lanes[i] = std::sqrt(x.lanes[i]);
    return result;
  }
}

template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V absolute(V x) {
  using Bits = typename detail::BitsOf<ElementOf<V>>::Unsigned;
  return from_bits<V>(to_bits(x) & static_cast<Bits>(~Bits{0} >> 1));
}

/// 2^k for integers k within the exponent range of normal numbers.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V power_of_two(SignedOf<V> k) {
  using T = ElementOf<V>;
  using Bits = typename detail::BitsOf<T>::Unsigned;
  return from_bits<V>(((UnsignedOf<V>)k + Bits{exponent_bias<T>}) << fraction_bits<T>);
}

/// Integers of small magnitude (below 2^21) as numbers, by way of the spacing of 1.5 * 2^fraction_bits.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V to_number(SignedOf<V> k) {
  using T = ElementOf<V>;
  constexpr T anchor = std::same_as<T, float> ? T(0x1.8p23) : T(0x1.8p52);
  return from_bits<V>((UnsignedOf<V>)k + to_bits(anchor)) - V(anchor);
}

/// x (magnitude below 2^21) rounded to the nearest integer, as number and as integer.
template <Number V>
struct Rounded {
  V number;
  SignedOf<V> integer;
};
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE Rounded<V> round_to_integer(V x) {
  using T = ElementOf<V>;
  constexpr T anchor = std::same_as<T, float> ? T(0x1.8p23) : T(0x1.8p52);
  const V shifted = x + V(anchor);
  return {shifted - V(anchor), (SignedOf<V>)(to_bits(shifted) - to_bits(anchor))};
}

// ---- a * b + c

/// a * b + c in one rounding where the processor has the instruction, else in two: for polynomials.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V multiply_add(V a, std::type_identity_t<V> b, std::type_identity_t<V> c) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::floating_point<V>) {
    return ::fma(a, b, c);
  } else {
    return V(::fma(a.lanes[0], b.lanes[0], c.lanes[0]));
  }
#elif defined(__FMA__) || defined(__FP_FAST_FMA)
  if constexpr (std::floating_point<V>) {
    return std::fma(a, b, c);
#if defined(EOSIN_PACK_AVX512)
  } else if constexpr (std::same_as<V, Pack<float>>) {
    return V(_mm512_fmadd_ps(a.lanes, b.lanes, c.lanes));
  } else if constexpr (std::same_as<V, Pack<double>>) {
    return V(_mm512_fmadd_pd(a.lanes, b.lanes, c.lanes));
#elif defined(EOSIN_PACK_AVX2)
  } else if constexpr (std::same_as<V, Pack<float>>) {
    return V(_mm256_fmadd_ps(a.lanes, b.lanes, c.lanes));
  } else if constexpr (std::same_as<V, Pack<double>>) {
    return V(_mm256_fmadd_pd(a.lanes, b.lanes, c.lanes));
#endif
  } else {
    V result;
    for (Index i = 0; i < V::size; ++i) result.lanes[i] = std::fma(a.lanes[i], b.lanes[i], c.lanes[i]);
    return result;
  }
#else
  return a * b + c;
#endif
}

/// a * b + c with the product as good as exact, for sums that cancel: the fused instruction, or Dekker's product
/// (Numer. Math. 18, 1971) where there is none. |a|, |b| below 2^(exponent_bias / 2).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V fused_multiply_add(V a, std::type_identity_t<V> b,
                                                                  std::type_identity_t<V> c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__) || defined(__FP_FAST_FMA)
  return multiply_add(a, b, c);
#else
  using T = ElementOf<V>;
  const V splitter(std::same_as<T, float> ? T(0x1.002p12) : T(0x1.0000002p27));
  const V a_scaled = splitter * a, b_scaled = splitter * b;
  const V a_high = a_scaled - (a_scaled - a), b_high = b_scaled - (b_scaled - b);
  const V a_low = a - a_high, b_low = b - b_high;
  const V product = a * b;
  const V error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
  return (product + c) + error;
#endif
}

// ---- memory

/// All lanes of a pack at position `index` of arrays.
template <class T>
struct FullLanes {
  Index index;

  EOSIN_ALWAYS_INLINE Pack<T> load(const T* array, T = T(0)) const {
    Pack<T> pack;
    std::memcpy(&pack.lanes, array + index, sizeof(pack.lanes));
    return pack;
  }
  EOSIN_ALWAYS_INLINE void store(T* array, Pack<T> pack) const {
    std::memcpy(array + index, &pack.lanes, sizeof(pack.lanes));
  }
  EOSIN_ALWAYS_INLINE Pack<T> keep(Pack<T> pack) const { return pack; }
};

/// The first `count` lanes at position `index`: the end of arrays. Where registers have masks these are a load and a
/// store; the others, and the sanitizers, which should see what is touched, copy bytes.
template <class T>
struct FirstLanes {
  Index index;
  Index count;

#if defined(EOSIN_PACK_AVX512) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  /// The other lanes are `fill`.
  EOSIN_ALWAYS_INLINE Pack<T> load(const T* array, T fill = T(0)) const {
    const auto others = Pack<T>(fill).lanes;
    if constexpr (sizeof(T) == 4) {
      return Pack<T>(_mm512_mask_loadu_ps(others, mask(), array + index));
    } else {
      return Pack<T>(_mm512_mask_loadu_pd(others, mask(), array + index));
    }
  }
  EOSIN_ALWAYS_INLINE void store(T* array, Pack<T> pack) const {
    if constexpr (sizeof(T) == 4) {
      _mm512_mask_storeu_ps(array + index, mask(), pack.lanes);
    } else {
      _mm512_mask_storeu_pd(array + index, mask(), pack.lanes);
    }
  }
  /// The pack with the other lanes 0.
  EOSIN_ALWAYS_INLINE Pack<T> keep(Pack<T> pack) const {
    if constexpr (sizeof(T) == 4) {
      return Pack<T>(_mm512_maskz_mov_ps(mask(), pack.lanes));
    } else {
      return Pack<T>(_mm512_maskz_mov_pd(mask(), pack.lanes));
    }
  }

 private:
  using Mask = std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8>;
  EOSIN_ALWAYS_INLINE Mask mask() const { return static_cast<Mask>((1U << count) - 1U); }
#else
  /// The other lanes are `fill`.
  Pack<T> load(const T* array, T fill = T(0)) const {
    Pack<T> pack(fill);
    std::memcpy(&pack.lanes, array + index, static_cast<std::size_t>(count) * sizeof(T));
    return pack;
  }
  void store(T* array, Pack<T> pack) const {
    std::memcpy(array + index, &pack.lanes, static_cast<std::size_t>(count) * sizeof(T));
  }
  /// The pack with the other lanes 0.
  Pack<T> keep(Pack<T> pack) const {
    Pack<T> kept(T(0));
    std::memcpy(&kept.lanes, &pack.lanes, static_cast<std::size_t>(count) * sizeof(T));
    return kept;
  }
#endif
};

/// Calls body(lanes) for consecutive packs that cover the positions [begin, end) of arrays of T; `lanes` has
/// load(array), store(array, pack) and keep(pack) and is a FullLanes<T> but for the last, incomplete pack.
template <class T, class Body>
inline EOSIN_ALWAYS_INLINE void for_each_pack(Index begin, Index end, Body&& body) {
  Index i = begin;
  for (; i + Pack<T>::size <= end; i += Pack<T>::size) body(FullLanes<T>{i});
  if (i < end) body(FirstLanes<T>{i, end - i});
}

/// Sum in double, whatever the type of what is added; the order of the additions is fixed.
template <class T>
class PackSum {
 public:
  EOSIN_ALWAYS_INLINE void add(Pack<T> pack) {
    if constexpr (Pack<T>::size == 1) {
      sum_[0] = sum_[0] + Pack<double>(pack.lanes[0]);
    } else if constexpr (std::same_as<T, double>) {
      sum_[0] = sum_[0] + pack;
    } else {
      widen(pack, std::make_index_sequence<Pack<double>::size>{});
    }
  }
  double total() const {
    double total = 0;
    for (const auto& pack : sum_)
      for (Index i = 0; i < Pack<double>::size; ++i) total += pack.lanes[i];
    return total;
  }
  /// The sums of the lanes, Pack<T>::size doubles.
  void store(double* sums) const { std::memcpy(sums, sum_, sizeof(sum_)); }

 private:
#if defined(__CUDACC__)
  void widen(Pack<T>, std::index_sequence<0>) {}
#else
  template <std::size_t... I>
  EOSIN_ALWAYS_INLINE void widen(Pack<T> pack, std::index_sequence<I...>) {
    using Wide = typename Pack<double>::Register;
    const auto low = __builtin_shufflevector(pack.lanes, pack.lanes, static_cast<int>(I)...);
    const auto high = __builtin_shufflevector(pack.lanes, pack.lanes, static_cast<int>(I + sizeof...(I))...);
    sum_[0] = sum_[0] + Pack<double>(__builtin_convertvector(low, Wide));
    sum_[1] = sum_[1] + Pack<double>(__builtin_convertvector(high, Wide));
  }
#endif

  Pack<double> sum_[sizeof(double) / sizeof(T)] = {};
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
