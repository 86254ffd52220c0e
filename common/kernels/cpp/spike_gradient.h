// The weight gradient of a convolution that skips zeros; see spikes.cpp.

#pragma once

#include "spike_forward.h"

// ----------------------------------------------------------------------------------------------------- weight gradient

struct Phase {  // pixels (S a + py, S b + px), and the taps that they feed: output pixel (a + dy, b + dx)
  int py, px, n;
  int tap[64], dy[64], dx[64];
};

struct Frame {  // the output gradient with a margin, so that every tap of every pixel finds a place
  int top = 0, left = 0, rows = 0, columns = 0;
};

static int floor_div(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

static int phases_of(const Shape& s, Phase* phases, Frame& f) {
  int count = 0, bottom = s.OH(), right = s.OW();
  for (int py = 0; py < std::min(s.S, s.H); ++py)
    for (int px = 0; px < std::min(s.S, s.W); ++px) {
      Phase& phase = phases[count++];
      phase = {py, px, 0, {}, {}, {}};
      for (int ky = 0; ky < s.KH; ++ky)
        for (int kx = 0; kx < s.KW; ++kx) {
          const int y = py + s.P - ky, x = px + s.P - kx;
          if (y % s.S || x % s.S) continue;
          const int dy = floor_div(y, s.S), dx = floor_div(x, s.S);
          phase.tap[phase.n] = ky * s.KW + kx, phase.dy[phase.n] = dy, phase.dx[phase.n++] = dx;
          f.top = std::max(f.top, -dy), f.left = std::max(f.left, -dx);
          bottom = std::max<int>(bottom, (s.H - 1 - py) / s.S + dy + 1), right = std::max<int>(right, (s.W - 1 - px) / s.S + dx + 1);
        }
    }
  f.rows = f.top + bottom, f.columns = f.left + right;
  return count;
}

// One output block of the gradient of one image as [rows][columns][block]; false if a number is not finite.
static bool frame_gradient(const float* g, const Shape& s, const Frame& f, int block, int outputs, float* d) {
  const int OH = s.OH(), OW = s.OW();
  if (f.rows == OH && f.columns == OW) return from_planes(g, static_cast<size_t>(OH) * OW, OH * OW, outputs, block, d);
  bool finite = true;
  memset(d, 0, static_cast<size_t>(f.rows) * f.columns * block * 4);
  for (int y = 0; y < OH; ++y)
    finite = from_planes(g + static_cast<size_t>(y) * OW, static_cast<size_t>(OH) * OW, OW, outputs, block,
                         d + (static_cast<size_t>(y + f.top) * f.columns + f.left) * block) && finite;
  return finite;
}

// Offsets of the pixels of one channel that are in `phase`, rows [y0, y1), into the frame of image number `n` of the tile.
static int channel_list(const uint8_t* bits, const float* x, const Shape& s, const Phase& phase, const Frame& f, int n, int y0, int y1,
                        uint32_t scale, uint32_t* list, float* values) {
  int k = 0;
  for (int y = y0 + (phase.py - y0 % static_cast<int>(s.S) + s.S) % s.S; y < y1; y += s.S) {
    const uint8_t* row = bits + static_cast<size_t>(y) * s.row_bytes();
    const float* pixels = x ? x + static_cast<size_t>(y) * s.W : nullptr;
    const uint32_t first = (n * f.rows + y / s.S + f.top) * f.columns + f.left;
    for (int b = 0; b < s.row_bytes(); ++b) {
      if (s.S <= 2) {
        const uint8_t byte = s.S == 1 ? row[b] : row[b] & 0x55 << phase.px;
        const int count = s.S == 1 ? expand(byte, first + b * 8, scale, list + k) : expand<2>(byte, first + b * 4, scale, list + k);
        if (x) for (int i = 0; i < count; ++i) values[k + i] = pixels[b * 8 + table.position[byte][i]];
        k += count;
        continue;
      }
      for (int i = 0; i < table.count[row[b]]; ++i) {
        const int column = b * 8 + table.position[row[b]][i];
        if (column % s.S != phase.px) continue;
        if (x) values[k] = pixels[column];
        list[k++] = (first + column / s.S) * scale;
      }
    }
  }
  return k;
}

// sums[9][LANES] += the 3 x 3 gradients around each place.
template <bool VALUED>
static void window_weights(const char* frame, const uint32_t* list, const float* values, int n, int row_bytes, int pixel_bytes, float* sums) {
  V a[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) a[t] = load(sums + t * LANES);
  for (int i = 0; i < n; ++i) {
    const char* place = frame + list[i];
    const float value = VALUED ? values[i] : 1.f;
#pragma GCC unroll 3
    for (int ky = 0; ky < 3; ++ky)
#pragma GCC unroll 3
      for (int kx = 0; kx < 3; ++kx) {
        const V g = load(reinterpret_cast<const float*>(place + (1 - ky) * row_bytes + (1 - kx) * pixel_bytes));
        a[ky * 3 + kx] += VALUED ? value * g : g;
      }
  }
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) store(sums + t * LANES, a[t]);
}

// dw [O, C, KH, KW] of the bits of x and g [N, O, OH, OW]; true if a gradient is not finite: 0 times that is no 0.
extern "C" int spike_weight_gradient(const uint8_t* bits, const float* x, const float* g, float* dw, const Shape* shape) {
  static thread_local Scratch frame_memory, sum_memory, entries, values, counts;
  const Shape s = *shape;
  Phase phases[64];
  Frame f;
  const int phase_count = phases_of(s, phases, f), taps = s.taps();
  const int block = s.window() ? LANES : std::min(s.block(), 4 * LANES), blocks = (s.O + block - 1) / block;
  const size_t frame = static_cast<size_t>(f.rows) * f.columns * block;
  const int64_t room = (s.window() ? WINDOW_GRADIENT : GATHER_GRADIENT) / (block * 4);  // pixels of a tile
  const int images = std::max<int64_t>(1, std::min<int64_t>(s.N, room / (f.rows * f.columns)));
  const int rows = images > 1 ? s.H : std::max<int64_t>(1, std::min<int64_t>(s.H, room * s.S / f.columns));
  const size_t list_room = static_cast<size_t>(images) * rows * s.W + 8;
  float* frames = frame_memory.get<float>(frame * images * blocks);
  float* sums = sum_memory.get<float>(static_cast<size_t>(blocks) * s.C * taps * block);
  uint32_t* list = entries.get<uint32_t>(list_room * s.C * phase_count);
  float* value = x ? values.get<float>(list_room * s.C * phase_count) : nullptr;
  int* count = counts.get<int>(s.C * phase_count);
  const Gather add = x ? gather_of<true>(block) : gather_of<false>(block);
  bool finite = true;
#pragma omp parallel num_threads(s.threads) reduction(&& : finite)
  {
#pragma omp for
    for (int o = 0; o < blocks; ++o) memset(sums + static_cast<size_t>(o) * s.C * taps * block, 0, static_cast<size_t>(s.C) * taps * block * 4);
    for (int64_t n0 = 0; n0 < s.N; n0 += images) {
      const int here = std::min<int64_t>(images, s.N - n0);
#pragma omp for collapse(2)
      for (int o = 0; o < blocks; ++o)
        for (int n = 0; n < here; ++n)
          finite = frame_gradient(g + ((n0 + n) * s.O + o * block) * s.OH() * s.OW(), s, f, block, std::min<int>(block, s.O - o * block),
                                  frames + (static_cast<size_t>(o) * images + n) * frame) && finite;
      for (int y0 = 0; y0 < s.H; y0 += rows) {
        const int y1 = std::min<int>(s.H, y0 + rows);
#pragma omp for collapse(2)
        for (int p = 0; p < phase_count; ++p)
          for (int c = 0; c < s.C; ++c) {
            const size_t at = static_cast<size_t>(p * s.C + c);
            int k = 0;
            for (int n = 0; n < here; ++n)
              k += channel_list(bits + (n0 + n) * s.image_bits() + static_cast<size_t>(c) * s.H * s.row_bytes(),
                                x ? x + ((n0 + n) * s.C + c) * s.H * s.W : nullptr, s, phases[p], f, n, y0, y1, block * 4,
                                list + at * list_room + k, x ? value + at * list_room + k : nullptr);
            count[at] = k;
          }
#pragma omp for collapse(2) schedule(static)
        for (int o = 0; o < blocks; ++o)
          for (int c = 0; c < s.C; ++c) {
            const char* base = reinterpret_cast<const char*>(frames + static_cast<size_t>(o) * images * frame);
            float* own = sums + (static_cast<size_t>(o) * s.C + c) * taps * block;
            for (int p = 0; p < phase_count; ++p) {
              const size_t at = static_cast<size_t>(p * s.C + c) * list_room;
              const uint32_t bounds[2] = {0, static_cast<uint32_t>(count[p * s.C + c])};
              const float* factors = x ? value + at : nullptr;
              if (s.window()) {
                (x ? window_weights<true> : window_weights<false>)(base, list + at, factors, bounds[1], f.columns * block * 4, block * 4, own);
                continue;
              }
              for (int t = 0; t < phases[p].n; ++t) {
                const ptrdiff_t shift = (static_cast<ptrdiff_t>(phases[p].dy[t]) * f.columns + phases[p].dx[t]) * block * 4;
                add(base + shift, {list + at, factors, bounds}, 1, own + phases[p].tap[t] * block, false);
              }
            }
          }
      }
    }
#pragma omp for
    for (int o = 0; o < blocks; ++o) {
      const size_t terms = static_cast<size_t>(s.C) * taps;
      to_planes(sums + o * terms * block, terms, block, dw + o * terms * block, terms, std::min<int>(block, s.O - o * block), nullptr);
    }
  }
  return !finite;
}
