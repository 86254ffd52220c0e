// The gradient at the input of a 3 x 3 convolution of stride 1 and padding 1, dense, by Winograd's F(2 x 2, 3 x 3).
//
// The gradient is a convolution of the output gradient g with the kernel turned by 180 degrees. Each 2 x 2 of it comes from
// 4 x 4 of g with 16 products per pair of channels instead of 36 (Lavin and Gray, arXiv 1509.09308):
//   gx = A' [sum over outputs of (G w G') (B' g B)] A, so that each of 16 places is a product of matrices of its own.

#pragma once

#include "spike_gradient.h"

constexpr int PLACES = 16;                              // of a tile
constexpr int TILE_ROWS = VECTOR_BYTES == 64 ? 12 : 6;  // tiles, and vectors of channels, whose sums stay in registers
constexpr int TILE_VECTORS = 2, CHANNELS = TILE_VECTORS * LANES;
constexpr size_t TRANSFORMED = 768 << 10;  // bytes of the transformed output gradient that stay in the cache, but at least
constexpr int FEWEST_TILES = 48;           // so many tiles: all weights are read for them

// B' d of a column of 4, A' m of one, and G w of one of 3.
static INLINE void transform4(V d0, V d1, V d2, V d3, V* to) { to[0] = d0 - d2, to[1] = d1 + d2, to[2] = d2 - d1, to[3] = d1 - d3; }
static INLINE void transform2(V m0, V m1, V m2, V m3, V* to) { to[0] = m0 + m1 + m2, to[1] = m1 - m2 - m3; }
static INLINE void transform3(V w0, V w1, V w2, V* to) {
  const V ends = .5f * (w0 + w2), middle = .5f * w1;
  to[0] = w0, to[1] = ends + middle, to[2] = ends - middle, to[3] = w2;
}

// Weights of some channels as [place][O][CHANNELS]; false if one is not finite.
static bool transform_weights(const float* w, const Shape& s, int c, float* to) {
  alignas(64) float taps[9 * CHANNELS];
  bool finite = true;
  for (int o = 0; o < s.O; ++o) {
    finite = from_planes(w + (static_cast<size_t>(o) * s.C + c) * 9, 9, 9, std::min<int>(CHANNELS, s.C - c), CHANNELS, taps) && finite;
    for (int v = 0; v < CHANNELS; v += LANES) {
      V half[3][4], all[4];
      for (int y = 0; y < 3; ++y) {  // turned by 180 degrees
        const float* row = taps + (2 - y) * 3 * CHANNELS + v;
        transform3(load(row + 2 * CHANNELS), load(row + CHANNELS), load(row), half[y]);
      }
      for (int x = 0; x < 4; ++x) {
        transform3(half[0][x], half[1][x], half[2][x], all);
        for (int y = 0; y < 4; ++y) store(to + ((y * 4 + x) * s.O + o) * CHANNELS + v, all[y]);
      }
    }
  }
  return finite;
}

// c [TILE_ROWS][CHANNELS] = a [TILE_ROWS][depth] b [depth][CHANNELS].
static void multiply(const float* a, size_t row, const float* b, int depth, float* c) {
  V sum[TILE_ROWS][TILE_VECTORS] = {};
  for (int o = 0; o < depth; ++o, b += CHANNELS)
#pragma GCC unroll 12
    for (int r = 0; r < TILE_ROWS; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < TILE_VECTORS; ++v) sum[r][v] += a[r * row + o] * load(b + v * LANES);
#pragma GCC unroll 12
  for (int r = 0; r < TILE_ROWS; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < TILE_VECTORS; ++v) store(c + r * CHANNELS + v * LANES, sum[r][v]);
}

struct Tiles {  // 2 x 2 pixels each: of some images, or of some rows of one
  const Shape& s;
  const int rows = (s.H + 1) / 2, columns = (s.W + 1) / 2, outputs = (s.O + LANES - 1) / LANES * LANES;
  const int room = std::max<int>(FEWEST_TILES, TRANSFORMED / (PLACES * 4 * outputs));
  const int images = std::max<int>(1, std::min<int>(s.N, room / (rows * columns)));
  const int most = (rows * columns + room - 1) / room, band = (rows + most - 1) / most, bands = (rows + band - 1) / band;  // of rows
  const int count = (images * band * columns + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;  // those behind the last one are any numbers
  const size_t place = static_cast<size_t>(count) * outputs + LANES;  // not a multiple of a page: all places are written at once
};

// Rows of tiles [t0, t1) of images [n0, n1) of g as [place][tile][output]; false if a number is not finite.
static bool transform_gradient(const Tiles& t, const float* g, int64_t n0, int64_t n1, int t0, int t1, float* frame, float* to) {
  const Shape& s = t.s;
  const size_t plane = static_cast<size_t>(s.H) * s.W;
  const int columns = 2 * t.columns + 2;
  bool finite = true;
  for (int64_t n = n0; n < n1; ++n)
    for (int o = 0; o < s.O; o += LANES) {
      finite = frame_rows(g + (n * s.O + o) * plane, s.H, s.W, 2 * t0 - 1, 2 * (t1 - t0) + 2, columns, 1, std::min<int>(LANES, s.O - o),
                          LANES, frame) && finite;
      float* tile = to + (n - n0) * (t1 - t0) * t.columns * t.outputs + o;
      for (int ty = 0; ty < t1 - t0; ++ty)
        for (int tx = 0; tx < t.columns; ++tx, tile += t.outputs) {
          V half[4][4], all[4];
          for (int x = 0; x < 4; ++x) {
            const float* d = frame + (static_cast<size_t>(2 * ty) * columns + 2 * tx + x) * LANES;
            const size_t row = static_cast<size_t>(columns) * LANES;
            transform4(load(d), load(d + row), load(d + 2 * row), load(d + 3 * row), half[x]);
          }
          for (int y = 0; y < 4; ++y) {
            transform4(half[0][y], half[1][y], half[2][y], half[3][y], all);
            for (int x = 0; x < 4; ++x) store(tile + (y * 4 + x) * t.place, all[x]);
          }
        }
    }
  return finite;
}

// Channels from c on of the same tiles of gx, from their sums [place][tile][CHANNELS].
static void transform_back(const Tiles& t, const float* sums, int64_t n0, int64_t n1, int t0, int t1, int c, float* pixels, float* gx) {
  const Shape& s = t.s;
  const size_t plane = static_cast<size_t>(s.H) * s.W, place = static_cast<size_t>(t.count) * CHANNELS, row = 2 * t.columns * CHANNELS;
  const int height = std::min<int>(2 * t1, s.H) - 2 * t0;
  for (int64_t n = n0; n < n1; ++n) {
    for (int ty = 0; ty < t1 - t0; ++ty)
      for (int tx = 0; tx < t.columns; ++tx, sums += CHANNELS)
        for (int v = 0; v < CHANNELS; v += LANES) {
          V half[4][2], all[2];
          for (int x = 0; x < 4; ++x) {
            const float* m = sums + x * place + v;
            transform2(load(m), load(m + 4 * place), load(m + 8 * place), load(m + 12 * place), half[x]);
          }
          for (int y = 0; y < 2; ++y) {
            transform2(half[0][y], half[1][y], half[2][y], half[3][y], all);
            for (int x = 0; x < 2; ++x) store(pixels + (2 * ty + y) * row + (2 * tx + x) * CHANNELS + v, all[x]);
          }
        }
    float* to = gx + (n * s.C + c) * plane + static_cast<size_t>(2 * t0) * s.W;
    const int channels = std::min<int>(CHANNELS, s.C - c);
    if (s.W % 2 == 0) to_planes(pixels, height * s.W, CHANNELS, to, plane, channels, nullptr);
    else
      for (int y = 0; y < height; ++y) to_planes(pixels + y * row, s.W, CHANNELS, to + y * s.W, plane, channels, nullptr);
  }
}

// gx [N, C, H, W] of g [N, O, H, W] and w [O, C, 3, 3]; true if a number is not finite: it would spread over its tile.
extern "C" int input_gradient(const float* g, const float* w, float* gx, const Shape* shape) {
  static thread_local Scratch weights, frames, transformed, products, pixels;
  const Shape s = *shape;
  const Tiles t{s};
  const int64_t blocks = (s.C + CHANNELS - 1) / CHANNELS, tiles = (s.N + t.images - 1) / t.images * t.bands;
  const int64_t parts = s.parts(tiles, blocks);
  const size_t place = static_cast<size_t>(s.O) * CHANNELS, sums_of_place = static_cast<size_t>(t.count) * CHANNELS;
  float* u = weights.get<float>(blocks * PLACES * place);
  bool finite = true;
#pragma omp parallel num_threads(s.threads) reduction(&& : finite)
  {
    float* frame = frames.get<float>(static_cast<size_t>(2 * t.band + 2) * (2 * t.columns + 2) * LANES);
    float* v = transformed.get<float>(PLACES * t.place);
    float* sums = products.get<float>(PLACES * sums_of_place);
    float* pixel = pixels.get<float>(static_cast<size_t>(2 * t.band) * 2 * t.columns * CHANNELS);
#pragma omp for
    for (int64_t c = 0; c < blocks; ++c) finite = transform_weights(w, s, c * CHANNELS, u + c * PLACES * place) && finite;
#pragma omp for schedule(dynamic)
    for (int64_t number = 0; number < tiles * parts; ++number) {
      const int64_t tile = number / parts, part = number % parts, n0 = tile / t.bands * t.images, n1 = std::min<int64_t>(s.N, n0 + t.images);
      const int t0 = tile % t.bands * t.band, t1 = std::min(t.rows, t0 + t.band), count = (n1 - n0) * (t1 - t0) * t.columns;
      finite = transform_gradient(t, g, n0, n1, t0, t1, frame, v) && finite;
      for (int64_t c = blocks * part / parts; c < blocks * (part + 1) / parts; ++c) {
        for (int k = 0; k < PLACES; ++k)
          for (size_t p = 0; p < static_cast<size_t>(count); p += TILE_ROWS)
            multiply(v + k * t.place + p * t.outputs, t.outputs, u + (c * PLACES + k) * place, s.O, sums + k * sums_of_place + p * CHANNELS);
        transform_back(t, sums, n0, n1, t0, t1, c * CHANNELS, pixel, gx);
      }
    }
  }
  return !finite;
}
