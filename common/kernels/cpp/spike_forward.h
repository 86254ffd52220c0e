// The forward pass of a convolution that skips zeros; see spikes.cpp.

#pragma once

#include "spikes.h"

// ------------------------------------------------------------------------------------------------------------- weights

extern "C" int64_t spike_packed_size(const Shape* s) {
  return static_cast<int64_t>(s->output_blocks()) * s->block() * s->C * s->taps();
}

// Weights [O, C, KH, KW] as [output block][input and tap][output]; true if one of them is not finite: 0 times that is no 0.
extern "C" int spike_pack(const float* w, float* packed, const Shape* shape) {
  const Shape s = *shape;
  const size_t terms = static_cast<size_t>(s.C) * s.taps();
  bool finite = true;
#pragma omp parallel for num_threads(s.threads) reduction(&& : finite)
  for (int o = 0; o < s.output_blocks(); ++o) {
    const int block = s.block(), outputs = std::min<int>(block, s.O - o * block);
    finite = from_planes(w + o * block * terms, terms, terms, outputs, block, packed + o * block * terms) && finite;
  }
  return !finite;
}

// ------------------------------------------------------------------------------------------------------------- forward

// sums[NV] (+)= the rows of `list`, offsets in bytes from `rows`, times `values`; enough sums at a time to hide an addition.
template <int NV, bool VALUED>
static INLINE void gather(const char* rows, const uint32_t* list, const float* values, int n, float* sums, bool first) {
  constexpr int SETS = NV >= 8 ? 1 : 8 / NV;
  V a[SETS][NV];
  const auto row = [&](int i, int v) {
    const V numbers = load(reinterpret_cast<const float*>(rows + list[i]) + v * LANES);
    return VALUED ? values[i] * numbers : numbers;
  };
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    a[0][v] = first ? V{} : load(sums + v * LANES);
#pragma GCC unroll 8
    for (int set = 1; set < SETS; ++set) a[set][v] = V{};
  }
  int i = 0;
  for (; i + SETS <= n; i += SETS)
#pragma GCC unroll 8
    for (int set = 0; set < SETS; ++set)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) a[set][v] += row(i + set, v);
  for (; SETS > 1 && i < n; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) a[0][v] += row(i, v);
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 8
    for (int set = 1; set < SETS; ++set) a[0][v] += a[set][v];
    store(sums + v * LANES, a[0][v]);
  }
}

struct Lists {  // of `pixels` places: start[i] and start[i + 1] bound those of place i
  const uint32_t* entries;
  const float* values;
  const uint32_t* start;
};

template <int NV, bool VALUED>
static void gather_pixels(const char* rows, Lists lists, int pixels, float* sums, bool first) {
  for (int p = 0; p < pixels; ++p) {
    const uint32_t begin = lists.start[p];
    const float* values = VALUED ? lists.values + begin : nullptr;
    gather<NV, VALUED>(rows, lists.entries + begin, values, lists.start[p + 1] - begin, sums + static_cast<size_t>(p) * NV * LANES, first);
  }
}

using Gather = void (*)(const char*, Lists, int, float*, bool);
template <bool VALUED>
static Gather gather_of(int block) {
  switch (block / LANES) {
    case 1: return gather_pixels<1, VALUED>;
    case 2: return gather_pixels<2, VALUED>;
    case 4: return gather_pixels<4, VALUED>;
    default: return gather_pixels<8, VALUED>;
  }
}

// The sums of one image [H + 2][W + 2][LANES], input by input: each adds its weights to the 3 x 3 outputs around it, which
// stay in registers and move on with it.
template <bool VALUED>
static void window_rows(const float* weights, Lists lists, int H, int W, int padded, float* sums) {
  const char* base = reinterpret_cast<const char*>(weights);
  for (int y = 0; y < H; ++y) {
    float* row[3];
    V a[3][3];
    for (int r = 0; r < 3; ++r) {
      row[r] = sums + static_cast<size_t>(y + r) * (W + 2) * LANES;
      a[r][0] = load(row[r]), a[r][1] = load(row[r] + LANES);
    }
    const uint32_t* start = lists.start + static_cast<size_t>(y) * padded;
    for (int x = 0; x < W; ++x) {
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) a[r][2] = load(row[r] + 2 * LANES);
      for (uint32_t i = start[x]; i < start[x + 1]; ++i) {
        const float* w = reinterpret_cast<const float*>(base + lists.entries[i]);
        const float value = VALUED ? lists.values[i] : 1.f;
#pragma GCC unroll 3
        for (int r = 0; r < 3; ++r)
#pragma GCC unroll 3
          for (int j = 0; j < 3; ++j) {
            const V weight = load(w + (8 - r * 3 - j) * LANES);
            a[r][j] += VALUED ? value * weight : weight;
          }
      }
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        store(row[r], a[r][0]);
        a[r][0] = a[r][1], a[r][1] = a[r][2];
        row[r] += LANES;
      }
    }
    for (int r = 0; r < 3; ++r) store(row[r], a[r][0]), store(row[r] + LANES, a[r][1]);
  }
}

// Lists of the inputs of each pixel of some images, by input block: offsets c * scale within the block's weights.
struct PixelLists {
  Scratch by_pixel, entries, values, start;
  size_t room = 0, places = 0, image = 0;
  void build(const uint8_t* bits, const float* x, int images, const Shape& s, uint32_t scale) {
    const int inputs = s.inputs(), groups = (s.C + 7) / 8, blocks = (s.C + inputs - 1) / inputs;
    const int padded = s.row_bytes() * 8;
    image = static_cast<size_t>(s.H) * padded;
    places = images * image + 1;
    room = static_cast<size_t>(images) * s.H * s.W * inputs + 8;
    uint8_t* m = by_pixel.get<uint8_t>(image * groups);
    uint32_t* lists = entries.get<uint32_t>(room * blocks);
    float* factors = x ? values.get<float>(room * blocks) : nullptr;
    uint32_t* begin = start.get<uint32_t>(places * blocks);
    for (int b = 0; b < blocks; ++b) begin[b * places] = 0;
    for (int n = 0; n < images; ++n) {
      bits_by_pixel(bits + n * s.image_bits(), s, m);
      for (int b = 0; b < blocks; ++b) {
        const int g0 = b * inputs / 8, g1 = std::min(groups, (b + 1) * inputs / 8);
        uint32_t* list = lists + b * room;
        uint32_t* at = begin + b * places + n * image;
        uint32_t k = *at++;
        for (size_t p = 0; p < image; ++p) {
          const uint8_t* bytes = m + p * groups;
          for (int g = g0; g < g1; ++g) {
            const int count = expand(bytes[g], (g - g0) * 8, scale, list + k);
            if (x) {
              const float* pixel = x + (static_cast<size_t>(n) * s.C + g * 8) * s.H * s.W + p / padded * s.W + p % padded;
              for (int i = 0; i < count; ++i) factors[b * room + k + i] = pixel[static_cast<size_t>(table.position[bytes[g]][i]) * s.H * s.W];
            }
            k += count;
          }
          *at++ = k;
        }
      }
    }
  }
  Lists block(int b, int n, bool valued) {
    return {entries.get<uint32_t>(0) + room * b, valued ? values.get<float>(0) + room * b : nullptr, start.get<uint32_t>(0) + places * b + n * image};
  }
};

struct Job {  // some images, and output blocks [o0, o1) of them
  const Shape& s;
  PixelLists& lists;
  bool valued;
  const float *packed, *bias;
  float* y;
  int images, o0, o1;
};

static void window_images(const Job& job) {
  static thread_local Scratch scratch;
  const Shape& s = job.s;
  const size_t image = static_cast<size_t>(s.H + 2) * (s.W + 2) * LANES, plane = static_cast<size_t>(s.H) * s.W;
  float* sums = scratch.get<float>(image * job.images);
  const int inputs = s.inputs(), padded = s.row_bytes() * 8;
  const auto rows = job.valued ? window_rows<true> : window_rows<false>;
  for (int o = job.o0; o < job.o1; ++o) {
    memset(sums, 0, image * job.images * 4);
    for (int b = 0; b * inputs < s.C; ++b)
      for (int n = 0; n < job.images; ++n)
        rows(job.packed + (static_cast<size_t>(o) * s.C + b * inputs) * 9 * LANES, job.lists.block(b, n, job.valued), s.H, s.W, padded, sums + n * image);
    for (int n = 0; n < job.images; ++n)
      for (int r = 0; r < s.H; ++r)
        to_planes(sums + n * image + (static_cast<size_t>(r + 1) * (s.W + 2) + 1) * LANES, s.W, LANES,
                  job.y + (static_cast<size_t>(n) * s.O + o * LANES) * plane + static_cast<size_t>(r) * s.W, plane,
                  std::min<int>(LANES, s.O - o * LANES), job.bias ? job.bias + o * LANES : nullptr);
  }
}

struct JoinedLists {
  Scratch entries, values, start;
  // The lists of all taps of the output pixels of rows [y0, y1) of some images, for one input block.
  Lists join(PixelLists& pixels, int b, bool valued, const Shape& s, int images, int y0, int y1, uint32_t tap_bytes) {
    const int padded = s.row_bytes() * 8, OW = s.OW();
    const int first = std::max<int>(0, y0 * s.S - s.P), last = std::min<int>(s.H, (y1 - 1) * s.S - s.P + s.KH);
    size_t there = 0;
    for (int n = 0; n < images && first < last; ++n) {
      const uint32_t* at = pixels.block(b, n, valued).start;
      there += at[static_cast<size_t>(last) * padded] - at[static_cast<size_t>(first) * padded];
    }
    uint32_t* list = entries.get<uint32_t>(there * s.taps() + 16);
    float* factors = valued ? values.get<float>(there * s.taps() + 16) : nullptr;
    uint32_t* begin = start.get<uint32_t>(static_cast<size_t>(images) * (y1 - y0) * OW + 1);
    uint32_t k = 0;
    for (int n = 0; n < images; ++n) {
      const Lists in = pixels.block(b, n, valued);
      for (int oy = y0; oy < y1; ++oy)
        for (int ox = 0; ox < OW; ++ox) {
          *begin++ = k;
          for (int ky = std::max<int>(0, s.P - oy * s.S); ky < std::min<int64_t>(s.KH, s.H + s.P - oy * s.S); ++ky)
            for (int kx = std::max<int>(0, s.P - ox * s.S); kx < std::min<int64_t>(s.KW, s.W + s.P - ox * s.S); ++kx) {
              const size_t pixel = static_cast<size_t>(oy * s.S - s.P + ky) * padded + ox * s.S - s.P + kx;
              const uint32_t a = in.start[pixel], count = in.start[pixel + 1] - a, shift = (ky * s.KW + kx) * tap_bytes;
              for (uint32_t i = 0; i < count; i += 8)
                *reinterpret_cast<U8*>(list + k + i) = *reinterpret_cast<const U8*>(in.entries + a + i) + shift;
              if (valued) memcpy(factors + k, in.values + a, count * 4);
              k += count;
            }
        }
    }
    *begin = k;
    return {list, factors, start.get<uint32_t>(0)};
  }
};

static void gather_images(const Job& job) {
  static thread_local Scratch scratch;
  static thread_local JoinedLists joined;
  const Shape& s = job.s;
  const int block = s.block(), inputs = s.inputs(), OH = s.OH(), OW = s.OW();
  const int rows = job.images > 1 ? OH : std::max(1, std::min(OH, TILE_PIXELS / OW));
  const Gather add = job.valued ? gather_of<true>(block) : gather_of<false>(block);
  const size_t image = static_cast<size_t>(rows) * OW * block, tile = image * job.images;
  const bool as_they_are = s.pointwise() && s.W % 8 == 0;  // the lists of the inputs are those of the outputs
  float* sums = scratch.get<float>(tile * (job.o1 - job.o0));
  for (int y0 = 0; y0 < OH; y0 += rows) {
    const int y1 = std::min(OH, y0 + rows), pixels = (y1 - y0) * OW;
    for (int b = 0; b * inputs < s.C; ++b) {
      Lists here = job.lists.block(b, 0, job.valued);
      if (as_they_are) here.start += static_cast<size_t>(y0) * OW;
      else here = joined.join(job.lists, b, job.valued, s, job.images, y0, y1, block * 4);
      for (int o = job.o0; o < job.o1; ++o) {
        const float* weights = job.packed + (static_cast<size_t>(o) * s.C + b * inputs) * s.taps() * block;
        add(reinterpret_cast<const char*>(weights), here, job.images * pixels, sums + (o - job.o0) * tile, b == 0);
      }
    }
    for (int o = job.o0; o < job.o1; ++o)
      for (int n = 0; n < job.images; ++n)
        to_planes(sums + (o - job.o0) * tile + static_cast<size_t>(n) * pixels * block, pixels, block,
                  job.y + (static_cast<size_t>(n) * s.O + o * block) * OH * OW + static_cast<size_t>(y0) * OW,
                  static_cast<size_t>(OH) * OW, std::min<int>(block, s.O - o * block), job.bias ? job.bias + o * block : nullptr);
  }
}

// y [N, O, OH, OW] of the bits of x, with x itself where it has other values than 0 and 1.
extern "C" void spike_forward(const uint8_t* bits, const float* x, const float* packed, const float* bias, float* y, const Shape* shape) {
  const Shape s = *shape;
  const int64_t images = std::max<int64_t>(1, std::min(TILE_PIXELS / (s.H * s.W), (s.N + s.threads - 1) / s.threads));
  const int64_t tiles = (s.N + images - 1) / images, blocks = s.output_blocks();
  const int64_t parts = s.threads == 1 ? 1 : std::min(blocks, (2 * s.threads + tiles - 1) / tiles);  // of the outputs
#pragma omp parallel for num_threads(s.threads) schedule(dynamic)
  for (int64_t number = 0; number < tiles * parts; ++number) {
    static thread_local PixelLists lists;
    const int64_t n = number / parts * images, part = number % parts;
    const int here = std::min(images, s.N - n);
    lists.build(bits + n * s.image_bits(), x ? x + n * s.C * s.H * s.W : nullptr, here, s, s.block() * 4 * s.taps());
    const Job job{s, lists, x != nullptr, packed, bias, y + n * s.O * s.OH() * s.OW(), here,
                  static_cast<int>(blocks * part / parts), static_cast<int>(blocks * (part + 1) / parts)};
    (s.window() ? window_images : gather_images)(job);
  }
}
