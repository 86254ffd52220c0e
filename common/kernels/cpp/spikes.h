// What is not zero in an input, as bits and as lists; see spikes.cpp.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif
constexpr int LANES = VECTOR_BYTES / 4;
constexpr int FIRST_CACHE = 40 << 10;      // bytes of weights that are read again and again
constexpr int GATHER_SUMS = 64 << 10;      // of the sums that they are added to
constexpr int WINDOW_GRADIENT = (VECTOR_BYTES == 64 ? 40 : 24) << 10;  // of a tile of the output gradient
constexpr int GATHER_GRADIENT = 64 << 10;
constexpr size_t GRADIENT_LISTS = 64 << 10;  // spikes whose lists are read again for every output block
constexpr int TILE_PIXELS = 2048;  // of a forward pass: loops over more of them end where no processor foresees it
constexpr int AHEAD = 2048;  // numbers that are fetched before they are read in order: twice as fast

typedef float V __attribute__((vector_size(VECTOR_BYTES)));
#define INLINE inline __attribute__((always_inline))

#if defined(__AVX2__) || defined(__AVX512F__)
static INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static INLINE void store_first(float* to, __m256 v, int n) {  // masked stores are slow on processors of AMD
  if (n >= 8) return _mm256_storeu_ps(to, v);
  __m128 rest = _mm256_castps256_ps128(v);
  if (n & 4) _mm_storeu_ps(to, rest), to += 4, rest = _mm256_extractf128_ps(v, 1);
  if (n & 2) _mm_storel_pi(reinterpret_cast<__m64*>(to), rest), to += 2, rest = _mm_movehl_ps(rest, rest);
  if (n & 1) _mm_store_ss(to, rest);
}
#endif

static INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }
static INLINE void store(float* p, V v) { *reinterpret_cast<V*>(p) = v; }

class Scratch {  // grows, is kept by its thread
 public:
  ~Scratch() { free(memory); }
  template <class T>
  T* get(size_t count) {
    const size_t needed = (count * sizeof(T) + 512 + 4095) / 4096 * 4096;
    if (needed > size) {
      free(memory);
      size = needed + needed / 4 / 4096 * 4096;
      memory = aligned_alloc(4096, size);
    }
    return static_cast<T*>(memory);
  }

 private:
  void* memory = nullptr;
  size_t size = 0;
};

struct Shape {
  int64_t N, C, H, W, O, KH, KW, S, P, threads;
  int OH() const { return (H + 2 * P - KH) / S + 1; }
  int OW() const { return (W + 2 * P - KW) / S + 1; }
  int row_bytes() const { return (W + 7) / 8; }
  int taps() const { return KH * KW; }
  bool window() const { return KH == 3 && KW == 3 && S == 1 && P == 1; }
  int block() const {  // output channels that are summed at a time
    if (window()) return LANES;
    int vectors = 8;
    while (vectors > 1 && vectors * LANES >= O + vectors * LANES / 2) vectors /= 2;
    return vectors * LANES;
  }
  int inputs() const {  // input channels whose weights are in the cache at a time, whole bytes of bits
    const int room = FIRST_CACHE / ((window() ? 9 : 1) * block() * 4) / 8 * 8;
    return std::min<int>(std::max(room, 8), (C + 7) / 8 * 8);
  }
  int output_blocks() const { return (O + block() - 1) / block(); }
  size_t block_weights() const { return static_cast<size_t>(block()) * C * taps(); }
  size_t image_bits() const { return static_cast<size_t>(C) * H * row_bytes(); }
  int64_t parts(int64_t tiles, int64_t blocks) const {  // of the blocks of a tile, so that all threads have work
    return threads == 1 ? 1 : std::min(blocks, (2 * threads + tiles - 1) / tiles);
  }
};

// ---------------------------------------------------------------------------------------------------------------- bits

struct Found {
  int64_t nonzero = 0;
  bool others = false;  // than 0 and 1
};

static INLINE void row_bits(const float* x, int W, uint8_t* bits, Found& found) {
#if defined(__AVX512F__)
  for (int p = 0; p < W; p += 16) {
    __builtin_prefetch(x + p + AHEAD);
    const int n = std::min(16, W - p);
    const __mmask16 there = n == 16 ? 0xffff : (1 << n) - 1;
    const __m512 v = _mm512_maskz_loadu_ps(there, x + p);
    const __mmask16 set = _mm512_mask_cmp_ps_mask(there, v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    found.others |= _mm512_mask_cmp_ps_mask(set, v, _mm512_set1_ps(1.f), _CMP_NEQ_UQ) != 0;
    found.nonzero += __builtin_popcount(set);
    bits[p / 8] = set;
    if (n > 8) bits[p / 8 + 1] = set >> 8;
  }
#elif defined(__AVX2__)
  __m256 other = _mm256_setzero_ps();
  for (int p = 0; p < W; p += 8) {
    __builtin_prefetch(x + p + AHEAD);
    const __m256 v = p + 8 <= W ? _mm256_loadu_ps(x + p) : _mm256_maskload_ps(x + p, first_lanes(W - p));
    const __m256 there = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NEQ_UQ);
    other = _mm256_or_ps(other, _mm256_and_ps(there, _mm256_xor_ps(v, _mm256_set1_ps(1.f))));
    const int set = _mm256_movemask_ps(there);
    found.nonzero += __builtin_popcount(set);
    bits[p / 8] = set;
  }
  found.others |= !_mm256_testz_si256(_mm256_castps_si256(other), _mm256_castps_si256(other));
#else
  for (int p = 0; p < W; p += 8) {
    int set = 0;
    for (int i = 0; i < std::min(8, W - p); ++i) {
      set |= (x[p + i] != 0.f) << i;
      found.others |= x[p + i] != 0.f && x[p + i] != 1.f;
    }
    found.nonzero += __builtin_popcount(set);
    bits[p / 8] = set;
  }
#endif
}

// How many of up to 4096 numbers, runs of 64 spread over x, are not 0.
extern "C" int spike_sample(const float* x, int64_t count) {
  const int64_t runs = std::min<int64_t>(64, (count + 63) / 64);
  int nonzero = 0;
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t first = runs * 64 >= count ? run * 64 : count / runs * run;
    for (int64_t i = first; i < std::min(first + 64, count); ++i) nonzero += x[i] != 0.f;
  }
  return nonzero;
}

extern "C" int64_t spike_bits_size(const Shape* s) { return s->N * s->image_bits() + 7; }  // which `word_of` may read

// Bits [N, C, H, row bytes] of x [N, C, H, W]; found: how many are not 0, and whether any of those is not 1.
extern "C" void spike_bits(const float* x, uint8_t* bits, int64_t* found, const Shape* shape) {
  const Shape s = *shape;
  int64_t nonzero = 0;
  bool others = false;
#pragma omp parallel for num_threads(s.threads) reduction(+ : nonzero) reduction(|| : others)
  for (int64_t plane = 0; plane < s.N * s.C; ++plane) {
    Found f;
    for (int y = 0; y < s.H; ++y)
      row_bits(x + (plane * s.H + y) * s.W, s.W, bits + (plane * s.H + y) * s.row_bytes(), f);
    nonzero += f.nonzero;
    others = others || f.others;
  }
  found[0] = nonzero;
  found[1] = others;
}

// The bits of up to 8 bytes; 8 are read.
static INLINE uint64_t word_of(const uint8_t* bytes, int count) {
  uint64_t word;
  memcpy(&word, bytes, 8);
  return count < 8 ? word & ((1ull << 8 * count) - 1) : word;
}

// How many of the bits of `bytes` bytes are set.
extern "C" int64_t spike_count(const uint8_t* bits, int64_t bytes) {
  int64_t count = 0;
  for (int64_t i = 0; i < bytes; i += 8) count += __builtin_popcountll(word_of(bits + i, std::min<int64_t>(8, bytes - i)));
  return count;
}

// Bits [row][row bytes] from those of `rows` rows of W numbers that follow each other; both are followed by 7 more bytes.
extern "C" void spike_rows(const uint8_t* bits, uint8_t* padded, int64_t rows, int64_t W) {
  for (int64_t row = 0, at = 0; row < rows; ++row)
    for (int64_t p = 0; p < W; p += 56) {  // as many as 8 bytes have behind any first bit, whole bytes
      const int count = std::min<int64_t>(56, W - p);
      const uint64_t piece = word_of(bits + at / 8, 8) >> at % 8 & ((1ull << count) - 1);
      memcpy(padded, &piece, 8);
      padded += (count + 7) / 8, at += count;
    }
}

// x [N, C, H, W] of zeros and ones again from its bits.
extern "C" void spike_floats(const uint8_t* bits, float* x, const Shape* shape) {
  const Shape s = *shape;
#pragma omp parallel for num_threads(s.threads)
  for (int64_t row = 0; row < s.N * s.C * s.H; ++row)
    for (int p = 0; p < s.W; p += 8) {
      const int byte = bits[row * s.row_bytes() + p / 8];
      for (int i = 0; i < std::min<int>(8, s.W - p); ++i) x[row * s.W + p + i] = byte >> i & 1;
    }
}

// Bits [pixel of a padded row][channel / 8] of one image from [C, H, row bytes]: 8 x 8 bits are transposed at a time.
static void bits_by_pixel(const uint8_t* bits, const Shape& s, uint8_t* by_pixel) {
  const int bytes = s.H * s.row_bytes(), groups = (s.C + 7) / 8;
  for (int g = 0; g < groups; ++g) {
    const int channels = std::min<int>(8, s.C - g * 8);
    const uint8_t* b = bits + static_cast<size_t>(g) * 8 * bytes;
    for (int k = 0; k < bytes; ++k) {
      uint64_t v = 0, t;
      for (int i = 0; i < channels; ++i) v |= static_cast<uint64_t>(b[static_cast<size_t>(i) * bytes + k]) << 8 * i;
      t = (v ^ (v >> 7)) & 0x00AA00AA00AA00AAull, v ^= t ^ (t << 7);
      t = (v ^ (v >> 14)) & 0x0000CCCC0000CCCCull, v ^= t ^ (t << 14);
      t = (v ^ (v >> 28)) & 0x00000000F0F0F0F0ull, v ^= t ^ (t << 28);
      uint8_t* m = by_pixel + static_cast<size_t>(k) * 8 * groups + g;
      for (int i = 0; i < 8; ++i) m[static_cast<size_t>(i) * groups] = v >> 8 * i;
    }
  }
}

// Calls use(number, bit) for the bits of a word, whose count is returned; the last one again, up to a multiple of 8, as a
// loop that ends at the last bit is foreseen by no processor.
template <class Use>
static INLINE int each_bit(uint64_t word, Use use) {
  const int count = __builtin_popcountll(word);
  const uint64_t last = word ? 1ull << (63 - __builtin_clzll(word)) : 0;
  for (int k = 0; k < count; k += 8)
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i, word &= word - 1) use(k + i, __builtin_ctzll(word | last));
  return count;
}

constexpr int LIST_ROOM = 16;  // entries behind a list that `list_bits` may write

// list[k] = table[bit] + shift for each bit of a word; returns how many there are.
static INLINE int list_bits(uint64_t word, const uint32_t* table, uint32_t shift, uint32_t* list) {
#if defined(__AVX512F__)
  int k = 0;
#pragma GCC unroll 4
  for (int first = 0; first < 64; first += 16) {
    const __mmask16 some = word >> first;
    const __m512i entries = _mm512_add_epi32(_mm512_loadu_si512(table + first), _mm512_set1_epi32(shift));
    _mm512_storeu_si512(list + k, _mm512_maskz_compress_epi32(some, entries));
    k += __builtin_popcount(some);
  }
  return k;
#else
  return each_bit(word, [&](int i, int bit) __attribute__((always_inline)) { list[i] = table[bit] + shift; });
#endif
}

// -------------------------------------------------------------------------------------------------------- transposition

#if defined(__AVX2__) || defined(__AVX512F__)
static INLINE void transpose8(__m256 r[8]) {
  const __m256 a = _mm256_unpacklo_ps(r[0], r[1]), b = _mm256_unpackhi_ps(r[0], r[1]);
  const __m256 c = _mm256_unpacklo_ps(r[2], r[3]), d = _mm256_unpackhi_ps(r[2], r[3]);
  const __m256 e = _mm256_unpacklo_ps(r[4], r[5]), f = _mm256_unpackhi_ps(r[4], r[5]);
  const __m256 g = _mm256_unpacklo_ps(r[6], r[7]), h = _mm256_unpackhi_ps(r[6], r[7]);
  const __m256 p = _mm256_shuffle_ps(a, c, 0x44), q = _mm256_shuffle_ps(a, c, 0xEE);
  const __m256 u = _mm256_shuffle_ps(b, d, 0x44), v = _mm256_shuffle_ps(b, d, 0xEE);
  const __m256 w = _mm256_shuffle_ps(e, g, 0x44), x = _mm256_shuffle_ps(e, g, 0xEE);
  const __m256 y = _mm256_shuffle_ps(f, h, 0x44), z = _mm256_shuffle_ps(f, h, 0xEE);
  r[0] = _mm256_permute2f128_ps(p, w, 0x20), r[1] = _mm256_permute2f128_ps(q, x, 0x20);
  r[2] = _mm256_permute2f128_ps(u, y, 0x20), r[3] = _mm256_permute2f128_ps(v, z, 0x20);
  r[4] = _mm256_permute2f128_ps(p, w, 0x31), r[5] = _mm256_permute2f128_ps(q, x, 0x31);
  r[6] = _mm256_permute2f128_ps(u, y, 0x31), r[7] = _mm256_permute2f128_ps(v, z, 0x31);
}
#endif

// Planes of y from sums [pixel][block] of consecutive pixels.
static void to_planes(const float* sums, int pixels, int block, float* y, size_t plane, int outputs, const float* bias) {
#if defined(__AVX2__) || defined(__AVX512F__)
  for (int o = 0; o < outputs; o += 8)
    for (int p = 0; p < pixels; p += 8) {  // along the planes, as they may all lie in one set of a cache
      const int n = std::min(8, pixels - p);
      __m256 r[8];
      for (int i = 0; i < 8; ++i) r[i] = i < n ? _mm256_load_ps(sums + static_cast<size_t>(p + i) * block + o) : _mm256_setzero_ps();
      transpose8(r);
      for (int i = 0; i < std::min(8, outputs - o); ++i)
        store_first(y + (o + i) * plane + p, bias ? _mm256_add_ps(r[i], _mm256_set1_ps(bias[o + i])) : r[i], n);
    }
#else
  for (int p = 0; p < pixels; ++p)
    for (int o = 0; o < outputs; ++o) y[o * plane + p] = sums[static_cast<size_t>(p) * block + o] + (bias ? bias[o] : 0.f);
#endif
}

// The other way: numbers [count][block] from `outputs` planes, 0 for outputs that there are not; false if one is not finite.
static bool from_planes(const float* planes, size_t plane, int count, int outputs, int block, float* d) {
  float zero = 0.f;
#if defined(__AVX2__) || defined(__AVX512F__)
  __m256 sum = _mm256_setzero_ps();
  for (int line = 0; line < count; line += 16)
    for (int o = 0; o < block; o += 8)
      for (int p = line; p < std::min(line + 16, count); p += 8) {
        const int n = std::min(8, count - p);
        const __m256i inside = first_lanes(n);
        __m256 r[8];
        for (int i = 0; i < 8; ++i) {
          const float* from = planes + (o + i) * plane + p;
          r[i] = o + i >= outputs ? _mm256_setzero_ps() : n == 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, inside);
          sum = _mm256_add_ps(sum, _mm256_mul_ps(r[i], _mm256_setzero_ps()));
        }
        transpose8(r);
        for (int i = 0; i < n; ++i) _mm256_store_ps(d + static_cast<size_t>(p + i) * block + o, r[i]);
      }
  for (int i = 0; i < 8; ++i) zero += sum[i];
#else
  for (int p = 0; p < count; ++p)
    for (int o = 0; o < block; ++o) {
      const float number = o < outputs ? planes[o * plane + p] : 0.f;
      d[static_cast<size_t>(p) * block + o] = number;
      zero += 0.f * number;
    }
#endif
  return zero == 0.f;
}
