// The forward pass of a convolution that skips zeros; see spikes.cpp.

#pragma once

#include "spikes.h"

// ------------------------------------------------------------------------------------------------------------- weights

extern "C" int64_t spike_packed_size(const Shape* s) {
  return s->output_blocks() * s->block_weights();
}

// Output block o of weights [O, C, KH, KW] as [input and tap][output]; false if one is not finite: 0 times that is no 0.
static bool pack_block(const float* w, const Shape& s, int o, float* packed) {
  const size_t terms = static_cast<size_t>(s.C) * s.taps();
  return from_planes(w + o * s.block() * terms, terms, terms, std::min<int>(s.block(), s.O - o * s.block()), s.block(), packed);
}

// All blocks; true if a weight is not finite.
extern "C" int spike_pack(const float* w, float* packed, const Shape* shape) {
  const Shape s = *shape;
  bool finite = true;
#pragma omp parallel for num_threads(s.threads) reduction(&& : finite)
  for (int o = 0; o < s.output_blocks(); ++o) finite = pack_block(w, s, o, packed + o * s.block_weights()) && finite;
  return !finite;
}

// ------------------------------------------------------------------------------------------------------------- forward

struct Lists {  // of `pixels` places: start[i] and start[i + 1] bound those of place i
  const uint32_t* entries;
  const float* values;
  const uint32_t* start;
};

struct Term {  // places, as offsets in bytes, and the values there
  const uint32_t* list;
  const float* values;
  int count;
};

// sums[tap] += the numbers at each place of `numbers` moved by the shift of the tap; enough sums at a time to hide an addition.
template <int TAPS, int NV, bool VALUED>
static INLINE void add_taps(const char* numbers, Term term, const ptrdiff_t* shift, float* const* sums) {
  constexpr int SETS = TAPS * NV >= 8 ? 1 : 8 / (TAPS * NV);
  V a[SETS][TAPS][NV];
  const auto add = [&](int i, int set) __attribute__((always_inline)) {
    const char* place = numbers + term.list[i];
    const float value = VALUED ? term.values[i] : 1.f;
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; ++t)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        const V g = load(reinterpret_cast<const float*>(place + shift[t]) + v * LANES);
        a[set][t][v] += VALUED ? value * g : g;
      }
  };
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      a[0][t][v] = load(sums[t] + v * LANES);
#pragma GCC unroll 8
      for (int set = 1; set < SETS; ++set) a[set][t][v] = V{};
    }
  int i = 0;
  for (; i + SETS <= term.count; i += SETS)
#pragma GCC unroll 8
    for (int set = 0; set < SETS; ++set) add(i + set, set);
  for (; SETS > 1 && i < term.count; ++i) add(i, 0);
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 8
      for (int set = 1; set < SETS; ++set) a[0][t][v] += a[set][t][v];
      store(sums[t] + v * LANES, a[0][t][v]);
    }
}

// sums [y1 - y0][OW][NV] += the weights of one tap of the inputs of each output pixel.
template <int NV, bool VALUED>
static void gather_rows(const float* weights, Lists lists, const Shape& s, int ky, int kx, int y0, int y1, float* sums) {
  constexpr ptrdiff_t as_they_are = 0;
  const int padded = s.row_bytes() * 8, OW = s.OW(), S = s.S, dx = kx - s.P, W = s.W;
  const int x0 = dx < 0 ? (S - 1 - dx) / S : 0, x1 = std::min(OW, (W - 1 - dx + S) / S);
  for (int oy = y0; oy < y1; ++oy) {
    const int y = oy * S + ky - static_cast<int>(s.P);
    if (y < 0 || y >= s.H) continue;
    const uint32_t* bounds = lists.start + static_cast<size_t>(y) * padded + dx;
    float* own = sums + (static_cast<size_t>(oy - y0) * OW + x0) * NV * LANES;
    for (int ox = x0; ox < x1; ++ox, own += NV * LANES) {
      const uint32_t first = bounds[ox * S];
      const Term term{lists.entries + first, VALUED ? lists.values + first : nullptr, static_cast<int>(bounds[ox * S + 1] - first)};
      add_taps<1, NV, VALUED>(reinterpret_cast<const char*>(weights), term, &as_they_are, &own);
    }
  }
}

using Gather = void (*)(const float*, Lists, const Shape&, int, int, int, int, float*);
template <bool VALUED>
static Gather gather_of(int block) {
  switch (block / LANES) {
    case 1: return gather_rows<1, VALUED>;
    case 2: return gather_rows<2, VALUED>;
    case 4: return gather_rows<4, VALUED>;
    default: return gather_rows<8, VALUED>;
  }
}

// Row y of an image adds its weights to rows [y - 1 + R0, y - 1 + R1) of the sums [H][W][LANES], `rows` is row y - 1: each
// input to the 3 x 3 outputs around it, which stay in registers and move on with it.
template <bool VALUED, int R0, int R1>
static void window_row(const float* weights, Lists lists, int W, float* rows) {
  const size_t row = static_cast<size_t>(W) * LANES;
  V a[3][3];
  const auto add = [&]<int J0, int J1>(int x) __attribute__((always_inline)) {
#pragma GCC unroll 3
    for (int r = R0; r < R1; ++r)
      if (J1 == 3) a[r][2] = load(rows + r * row + (x + 1) * LANES);
    for (uint32_t i = lists.start[x]; i < lists.start[x + 1]; ++i) {
      const float* w = reinterpret_cast<const float*>(reinterpret_cast<const char*>(weights) + lists.entries[i]);
      const float value = VALUED ? lists.values[i] : 1.f;
#pragma GCC unroll 3
      for (int r = R0; r < R1; ++r)
#pragma GCC unroll 3
        for (int j = J0; j < J1; ++j) {
          const V weight = load(w + (8 - r * 3 - j) * LANES);
          a[r][j] += VALUED ? value * weight : weight;
        }
    }
#pragma GCC unroll 3
    for (int r = R0; r < R1; ++r) {
      if (J0 == 0) store(rows + r * row + (x - 1) * LANES, a[r][0]);
      a[r][0] = a[r][1], a[r][1] = a[r][2];
    }
  };
#pragma GCC unroll 3
  for (int r = R0; r < R1; ++r) a[r][1] = load(rows + r * row);
  if (W == 1) {
    add.template operator()<1, 2>(0);
  } else {
    add.template operator()<1, 3>(0);
    for (int x = 1; x < W - 1; ++x) add.template operator()<0, 3>(x);
    add.template operator()<0, 2>(W - 1);
  }
#pragma GCC unroll 3
  for (int r = R0; r < R1; ++r) store(rows + r * row + (W - 1) * LANES, a[r][0]);
}

// Rows [y0, y1) of the sums of an image, from the rows of inputs around them.
template <bool VALUED>
static void window_rows(const float* weights, Lists lists, int H, int W, int padded, int y0, int y1, float* sums) {
  constexpr void (*OF_ROW[3][4])(const float*, Lists, int, float*) = {
      {nullptr, window_row<VALUED, 0, 1>, window_row<VALUED, 0, 2>, window_row<VALUED, 0, 3>},
      {nullptr, nullptr, window_row<VALUED, 1, 2>, window_row<VALUED, 1, 3>},
      {nullptr, nullptr, nullptr, window_row<VALUED, 2, 3>},
  };
  for (int y = std::max(0, y0 - 1); y < std::min(H, y1 + 1); ++y) {
    const Lists row{lists.entries, lists.values, lists.start + static_cast<size_t>(y) * padded};
    OF_ROW[std::max(0, y0 - y + 1)][std::min(3, y1 - y + 1)](weights, row, W, sums + (static_cast<ptrdiff_t>(y) - 1 - y0) * W * LANES);
  }
}

// Lists of the inputs of each pixel of some images, by input block: offsets c * scale within the block's weights.
struct PixelLists {
  Scratch by_pixel, offsets, entries, values, start;
  size_t room = 0, places = 0, image = 0;
  void build(const uint8_t* bits, const float* x, int images, const Shape& s, uint32_t scale) {
    const int inputs = s.inputs(), groups = (s.C + 7) / 8, blocks = (s.C + inputs - 1) / inputs;
    const int padded = s.row_bytes() * 8, plane = s.H * s.W;
    image = static_cast<size_t>(s.H) * padded;
    places = images * image + 1;
    room = static_cast<size_t>(images) * plane * inputs + LIST_ROOM;
    uint8_t* m = by_pixel.get<uint8_t>(image * groups);
    uint32_t* offset = offsets.get<uint32_t>(inputs + 64);
    for (int c = 0; c < inputs; ++c) offset[c] = c * scale;
    uint32_t* lists = entries.get<uint32_t>(room * blocks);
    float* factors = x ? values.get<float>(room * blocks) : nullptr;
    uint32_t* begin = start.get<uint32_t>(places * blocks);
    for (int b = 0; b < blocks; ++b) begin[b * places] = 0;
    for (int n = 0; n < images; ++n) {
      bits_by_pixel(bits + n * s.image_bits(), s, m);
      for (int b = 0; b < blocks; ++b) {
        const int g0 = b * inputs / 8, bytes = std::min(groups - g0, inputs / 8);
        uint32_t* list = lists + b * room;
        uint32_t* at = begin + b * places + n * image;
        uint32_t k = *at++;
        for (size_t p = 0; p < image; ++p) {
          for (int g = 0; g < bytes; g += 8) {
            const uint64_t word = word_of(m + p * groups + g0 + g, bytes - g);
            const int count = list_bits(word, offset + g * 8, 0, list + k);
            if (x) {
              const float* pixel = x + (static_cast<size_t>(n) * s.C + (g0 + g) * 8) * plane + p / padded * s.W + p % padded;
              each_bit(word, [&](int i, int bit) { factors[b * room + k + i] = pixel[static_cast<size_t>(bit) * plane]; });
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
  const float *packed, *weight, *bias;
  float* y;
  int images, o0, o1;
  bool finite = true;
  const float* packed_block(int o) {  // one at a time stays in the cache, if they were not packed before
    static thread_local Scratch scratch;
    if (packed) return packed + o * s.block_weights();
    float* own = scratch.get<float>(s.block_weights());
    finite = pack_block(weight, s, o, own) && finite;
    return own;
  }
  const float* read_next(int o) const { return (packed ? packed : weight) + (o + 1) * s.block_weights(); }
};

// Ask for part `number` of `parts` of the `count` weights that come next: for few pixels they are most of the work.
static INLINE void fetch(const float* next, int count, int number, int parts) {
  for (int line = count / 16 * number / parts; line < count / 16 * (number + 1) / parts; ++line) __builtin_prefetch(next + line * 16, 0, 2);
}

static void window_images(Job& job) {
  static thread_local Scratch scratch;
  const Shape& s = job.s;
  const int inputs = s.inputs(), padded = s.row_bytes() * 8, H = s.H, W = s.W;
  const int tiles = job.images > 1 ? 1 : (H * W + TILE_PIXELS - 1) / TILE_PIXELS, rows = (H + tiles - 1) / tiles;
  const size_t plane = static_cast<size_t>(H) * W, image = static_cast<size_t>(rows) * W * LANES;
  float* sums = scratch.get<float>(image * job.images);
  const auto add = job.valued ? window_rows<true> : window_rows<false>;
  for (int y0 = 0; y0 < H; y0 += rows)
    for (int o = job.o0; o < job.o1; ++o) {
      const int y1 = std::min(H, y0 + rows);
      const float* packed = job.packed_block(o);
      memset(sums, 0, image * job.images * 4);
      for (int b = 0; b * inputs < s.C; ++b) {
        const size_t first = static_cast<size_t>(b) * inputs * 9 * LANES;
        for (int n = 0; n < job.images; ++n) {
          fetch(job.read_next(o) + first, inputs * 9 * LANES, n, job.images);
          add(packed + first, job.lists.block(b, n, job.valued), H, W, padded, y0, y1, sums + n * image);
        }
      }
      for (int n = 0; n < job.images; ++n)
        to_planes(sums + n * image, (y1 - y0) * W, LANES, job.y + (static_cast<size_t>(n) * s.O + o * LANES) * plane + y0 * W, plane,
                  std::min<int>(LANES, s.O - o * LANES), job.bias ? job.bias + o * LANES : nullptr);
    }
}

static void gather_images(Job& job) {
  static thread_local Scratch scratch;
  const Shape& s = job.s;
  const int block = s.block(), inputs = s.inputs(), OH = s.OH(), OW = s.OW(), plane = OH * OW;
  const Gather add = job.valued ? gather_of<true>(block) : gather_of<false>(block);
  const int pixels = GATHER_SUMS / (block * 4), images = std::max(1, std::min(job.images, pixels / plane));  // of a tile
  const int rows = images > 1 ? OH : std::max(1, std::min(OH, pixels / OW));
  const size_t image = static_cast<size_t>(rows) * OW * block;
  float* sums = scratch.get<float>(image * images);
  for (int o = job.o0; o < job.o1; ++o) {
    const float* packed = job.packed_block(o);
    for (int n0 = 0; n0 < job.images; n0 += images)
      for (int y0 = 0; y0 < OH; y0 += rows) {
        const int n1 = std::min(job.images, n0 + images), y1 = std::min(OH, y0 + rows);
        memset(sums, 0, image * images * 4);
        for (int b = 0; b * inputs < s.C; ++b)
          for (int t = 0; t < s.taps(); ++t)
            for (int n = n0; n < n1; ++n)
              add(packed + (static_cast<size_t>(b) * inputs * s.taps() + t) * block, job.lists.block(b, n, job.valued), s, t / s.KW,
                  t % s.KW, y0, y1, sums + (n - n0) * image);
        for (int n = n0; n < n1; ++n)
          to_planes(sums + (n - n0) * image, (y1 - y0) * OW, block, job.y + (static_cast<size_t>(n) * s.O + o * block) * plane + y0 * OW, plane,
                    std::min<int>(block, s.O - o * block), job.bias ? job.bias + o * block : nullptr);
      }
  }
}

// y [N, O, OH, OW] of the bits of x, with x itself where it has other values than 0 and 1; from packed weights, or none and
// the weights themselves. True if one of these is not finite.
extern "C" int spike_forward(const uint8_t* bits, const float* x, const float* packed, const float* weight, const float* bias, float* y,
                             const Shape* shape) {
  static thread_local Scratch scratch;
  const Shape s = *shape;
  const bool packs = !packed && s.N * s.H * s.W <= TILE_PIXELS;  // where a block is wanted
  const int64_t images = packs ? s.N : std::max<int64_t>(1, std::min(TILE_PIXELS / (s.H * s.W), (s.N + s.threads - 1) / s.threads));
  const int64_t tiles = (s.N + images - 1) / images, blocks = s.output_blocks(), parts = s.parts(tiles, blocks);
  bool finite = true;
  if (!packed && !packs) {
    float* all = scratch.get<float>(spike_packed_size(shape));
    if (spike_pack(weight, all, shape)) return true;
    packed = all;
  }
#pragma omp parallel num_threads(s.threads) reduction(&& : finite)
  {
    static thread_local PixelLists lists;
    int64_t listed = -1;  // the first of the images that they are of
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < tiles * parts; ++number) {
      const int64_t n = number / parts * images, part = number % parts;
      const int here = std::min(images, s.N - n);
      if (n != listed) lists.build(bits + n * s.image_bits(), x ? x + n * s.C * s.H * s.W : nullptr, here, s, s.block() * 4 * s.taps());
      listed = n;
      Job job{s, lists, x != nullptr, packed, weight, bias, y + n * s.O * s.OH() * s.OW(), here,
              static_cast<int>(blocks * part / parts), static_cast<int>(blocks * (part + 1) / parts)};
      (s.window() ? window_images : gather_images)(job);
      finite = finite && job.finite;
    }
  }
  return !finite;
}
