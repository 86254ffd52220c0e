// Vectors of membranes, and how they are loaded from and stored to numbers of each storage type.
#pragma once

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

// 1 / k! for k = 13 ... 0.
constexpr double INVERSE_FACTORIALS[] = {
    1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040,
    1. / 720,        1. / 120,       1. / 24,       1. / 6,       0.5,         1,          1};

// Adding it rounds a number to an integer, ties to even, which then stands in the low bits.
template <typename A>
constexpr A MAGIC = sizeof(A) == 4 ? A(12582912) : A(6755399441055744);

template <typename A, typename N>
inline __attribute__((always_inline)) N round_even(N v) {
  return (v + MAGIC<A>)-MAGIC<A>;
}

// To about one unit in the last place: t = n ln 2 + r, a Taylor polynomial in r, and n added to the exponent.
template <typename A, typename N>
inline __attribute__((always_inline)) N exp_negative(N t) {
  using Bits = decltype(t < t);  // integers as wide as the numbers
  constexpr bool single = sizeof(A) == 4;
  const A least = single ? -87 : -708;
  t = t < least ? N{} + least : t;
  const N shifted = t * A(1.4426950408889634) + MAGIC<A>, n = shifted - MAGIC<A>;
  const N r = (t - n * A(single ? 0.693359375 : 6.93147180369123816490e-01)) -
              n * A(single ? -2.12194440e-4 : 1.90821492927058770002e-10);
  N p = N{} + A(INVERSE_FACTORIALS[single ? 6 : 0]);
#pragma GCC unroll 13
  for (int k = single ? 7 : 1; k < 14; ++k) p = fused(p, r, N{} + A(INVERSE_FACTORIALS[k]));
  const Bits one = (Bits)(N{} + A(1));
  return p * (N)(((Bits)shifted << (single ? 23 : 52)) + one);
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
      value = (typename V::N)(__builtin_convertvector(bits, typename V::Words) << 16);
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
    put(__builtin_convertvector(rounded, typename V::Halves));
  } else {
#if defined(__AVX512F__)
    put((typename V::Halves)_mm512_cvtps_ph((__m512)value, 0));
#elif defined(__F16C__)
    put((typename V::Halves)_mm256_cvtps_ph((__m256)value, 0));
#endif
  }
}

inline void finish_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}
