// Vectors of membranes, and how they are loaded from and stored to numbers of each storage type.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

// The type that a membrane is kept in.
template <typename S>
struct Accumulation {
  using type = float;
};
template <>
struct Accumulation<double> {
  using type = double;
};

template <typename S>
struct Vectors {
  using A = typename Accumulation<S>::type;
  static constexpr int LANES = VECTOR_BYTES / sizeof(A);
  typedef A N __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint32_t Words __attribute__((vector_size(VECTOR_BYTES)));
  typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));
};

// a * b + c, in one rounding where the processor can; for gradients only.
template <typename N>
inline __attribute__((always_inline)) N fused(N a, N b, N c) {
#if defined(__AVX512F__)
  if constexpr (sizeof(a[0]) == 4)
    return (N)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
  else
    return (N)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  if constexpr (sizeof(a[0]) == 4)
    return (N)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
  else
    return (N)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
  return a * b + c;
#endif
}

// (ln 2)^k / k!: the Taylor series of 2^r.
constexpr auto POWER_SERIES = [] {
  std::array<double, 14> series{1};
  for (size_t k = 1; k < series.size(); ++k) series[k] = series[k - 1] * 0.6931471805599453 / double(k);
  return series;
}();

// Adding it rounds a number to an integer, ties to even, which then stands in the low bits.
template <typename A>
constexpr A MAGIC = sizeof(A) == 4 ? A(12582912) : A(6755399441055744);

template <typename A, typename N>
inline __attribute__((always_inline)) N round_even(N v) {
  return (v + MAGIC<A>)-MAGIC<A>;
}

// exp(t) = 2^u = 2^n 2^r with n = round(u): a polynomial in r, and n added to the exponent. The relative error is |u|
// roundings of A. Neighbouring terms are joined first (Estrin), since the processor can join several pairs at once.
template <typename A, typename N>
inline __attribute__((always_inline)) N exp_negative(N t) {
  using Bits = decltype(t < t);  // integers as wide as the numbers
  constexpr bool single = sizeof(A) == 4;
  constexpr int TERMS = single ? 8 : POWER_SERIES.size();
  const A least = single ? -87 : -708;
  t = t < least ? N{} + least : t;
  const N u = t * A(1.4426950408889634), shifted = u + MAGIC<A>, r = u - (shifted - MAGIC<A>);
  N terms[TERMS], power = r;
#pragma GCC unroll 14
  for (int k = 0; k < TERMS; ++k) terms[k] = N{} + A(POWER_SERIES[k]);
#pragma GCC unroll 4
  for (int count = TERMS; count > 1; count = (count + 1) / 2, power = power * power) {
#pragma GCC unroll 7
    for (int k = 0; k < count / 2; ++k) terms[k] = fused(terms[2 * k + 1], power, terms[2 * k]);
    if (count % 2) terms[count / 2] = terms[count - 1];
  }
  const Bits one = (Bits)(N{} + A(1));
  return terms[0] * (N)(((Bits)shifted << (single ? 23 : 52)) + one);
}

// Write past the caches: the line is not read before it is overwritten. `out` is aligned to its size.
template <typename Bits>
inline __attribute__((always_inline)) void stream(void* out, Bits value) {
#if defined(__AVX512F__)
  if constexpr (sizeof value == 64) return _mm512_stream_si512((__m512i*)out, (__m512i)value);
#endif
#if defined(__AVX__)
  if constexpr (sizeof value == 32) return _mm256_stream_si256((__m256i*)out, (__m256i)value);
#endif
#if defined(__SSE2__)
  if constexpr (sizeof value == 16) return _mm_stream_si128((__m128i*)out, (__m128i)value);
#endif
  memcpy(out, &value, sizeof value);
}

// 16-bit numbers as 32-bit ones, and back those that fit; the compiler does it in twice the instructions on AVX2.
template <typename V>
inline __attribute__((always_inline)) typename V::Words words(typename V::Halves narrow) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return (typename V::Words)_mm256_cvtepu16_epi32((__m128i)narrow);
#else
  return __builtin_convertvector(narrow, typename V::Words);
#endif
}
template <typename V>
inline __attribute__((always_inline)) typename V::Halves halves(typename V::Words wide) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  const auto low = _mm256_castsi256_si128((__m256i)wide), high = _mm256_extracti128_si256((__m256i)wide, 1);
  return (typename V::Halves)_mm_packus_epi32(low, high);
#else
  return __builtin_convertvector(wide, typename V::Halves);
#endif
}

template <typename S>
inline __attribute__((always_inline)) typename Vectors<S>::N load(const S* from) {
  using V = Vectors<S>;
  typename V::N value;
  if constexpr (sizeof(S) == sizeof(typename V::A)) {
    memcpy(&value, from, sizeof value);
  } else {
    typename V::Halves bits;
    memcpy(&bits, from, sizeof bits);
    if constexpr (sizeof(S) == 2 && __is_same(S, BFloat16)) {
      value = (typename V::N)(words<V>(bits) << 16);
    } else {
#if defined(__AVX512F__)
      value = (typename V::N)_mm512_cvtph_ps((__m256i)bits);
#elif defined(__F16C__)
      value = (typename V::N)_mm256_cvtph_ps((__m128i)bits);
#else
      value = typename V::N{};
#endif
    }
  }
  return value;
}

// `spikes` says that all values are 0 or 1, which need no rounding.
template <bool spikes, typename S, typename N>
inline __attribute__((always_inline)) void store(S* to, N value, bool streamed) {
  using V = Vectors<S>;
  auto put = [&](auto bits) __attribute__((always_inline)) {
    if (streamed)
      stream(to, bits);
    else
      memcpy(to, &bits, sizeof bits);
  };
  if constexpr (sizeof(S) == sizeof(typename V::A)) {
    put(value);
  } else if constexpr (__is_same(S, BFloat16)) {  // to nearest, ties to even; NaN stays NaN
#if defined(__AVX512BF16__)
    if constexpr (!spikes) return put((typename V::Halves)_mm512_cvtneps_pbh((__m512)value));  // numbers below 2^-126: 0
#endif
    const auto bits = (typename V::Words)value;
    const auto nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const auto rounded = spikes ? bits >> 16 : value != value ? nearest * 0 + 0x7fc0 : nearest;
    put(halves<V>(rounded));
  } else {
#if defined(__AVX512F__)
    put((typename V::Halves)_mm512_cvtps_ph((__m512)value, 0));
#elif defined(__F16C__)
    put((typename V::Halves)_mm256_cvtps_ph((__m256)value, 0));
#endif
  }
}

// A bit for each number of a vector of zeros and ones that is 1.
inline __attribute__((always_inline)) uint64_t ones(Vectors<float>::N value) {
  const auto words = (Vectors<float>::Words)value << 2;  // of 1.0f, the highest bit is set
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)words, (__m512i)words);
#elif defined(__AVX__)
  return _mm256_movemask_ps((__m256)words);
#elif defined(__SSE2__)
  return _mm_movemask_ps((__m128)words);
#else
  uint64_t set = 0;
  for (int i = 0; i < Vectors<float>::LANES; ++i) set |= uint64_t(words[i] >> 31) << i;
  return set;
#endif
}

inline void finish_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}
