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

struct Places {  // of the bits of some rows of a channel, the same for every image and tile
  Scratch offsets, pixels, masks;
  uint32_t *offset, *pixel;  // in the frame in bytes, and in the plane
  uint64_t* mask;            // [phase][word] of the bits that are in it
  int words;
  void build(const Shape& s, const Frame& f, int rows, int phases, uint32_t scale) {
    const int padded = s.row_bytes() * 8;
    words = (rows * s.row_bytes() + 7) / 8;
    offset = offsets.get<uint32_t>(words * 64), pixel = pixels.get<uint32_t>(words * 64);
    mask = masks.get<uint64_t>(phases * words);
    memset(mask, 0, phases * words * 8);
    const int across = std::min(s.S, s.W);
    for (int b = 0; b < rows * padded; ++b) {
      const int y = b / padded, x = b % padded;
      offset[b] = ((y / s.S + f.top) * f.columns + x / s.S + f.left) * scale, pixel[b] = y * s.W + x;
      const int phase = y % s.S * across + x % s.S;
      if (x < s.W) mask[phase * words + b / 64] |= 1ull << b % 64;
    }
  }
  // Append the offsets of the spikes of a phase in `bytes` bytes of bits.
  int list(const uint8_t* bits, int bytes, const float* x, int phase, uint32_t shift, uint32_t* list, float* values) const {
    int k = 0;
    for (int w = 0; w * 8 < bytes; ++w) {
      const uint64_t word = word_of(bits + w * 8, bytes - w * 8) & mask[phase * words + w];
      if (x) each_bit(word, [&](int i, int bit) { values[k + i] = x[pixel[w * 64 + bit]]; });
      k += list_bits(word, offset + w * 64, shift, list + k);
    }
    return k;
  }
};

using AddTaps = void (*)(const char*, Term, const ptrdiff_t*, float* const*);
template <bool VALUED, int NV>
static AddTaps adding(int taps) {
  if constexpr (NV == 1)
    if (taps == 9) return add_taps<9, 1, VALUED>;
  switch (taps) {
    case 1: return add_taps<1, NV, VALUED>;
    case 2: return add_taps<2, NV, VALUED>;
    case 3: return add_taps<3, NV, VALUED>;
    default: return add_taps<4, NV, VALUED>;
  }
}

struct Group {  // taps of one phase that are added together
  int phase, count;
  int tap[9];
  ptrdiff_t shift[9];
  AddTaps add;
};

// All taps in groups of as many as there are registers for their sums.
static int groups_of(const Shape& s, const Phase* phases, int phase_count, const Frame& f, int block, bool valued, Group* groups) {
  const int most = s.window() ? 9 : 4;
  int count = 0;
  for (int p = 0; p < phase_count; ++p)
    for (int t = 0; t < phases[p].n; t += most) {
      Group& group = groups[count++];
      group.phase = p, group.count = std::min(most, phases[p].n - t);
      for (int i = 0; i < group.count; ++i) {
        group.tap[i] = phases[p].tap[t + i];
        group.shift[i] = (static_cast<ptrdiff_t>(phases[p].dy[t + i]) * f.columns + phases[p].dx[t + i]) * block * 4;
      }
      group.add = block == LANES ? (valued ? adding<true, 1> : adding<false, 1>)(group.count)
                                 : (valued ? adding<true, 2> : adding<false, 2>)(group.count);
    }
  return count;
}

struct Plan {  // of one weight gradient: what is computed at a time
  const Shape& s;
  const bool valued;
  Frame f;
  Phase phases[64];
  Group groups[64];
  const int phase_count = phases_of(s, phases, f);
  const int block = s.window() ? LANES : std::min(s.block(), 2 * LANES), blocks = (s.O + block - 1) / block;
  const int group_count = groups_of(s, phases, phase_count, f, block, valued, groups);
  const size_t frame = static_cast<size_t>(f.rows) * f.columns * block, sums = static_cast<size_t>(s.taps()) * block;
  const int room = (s.window() ? WINDOW_GRADIENT : GATHER_GRADIENT) / (block * 4);  // pixels of a tile: whole images, or rows
  const int images = std::max<int>(1, std::min<int>(s.N, room / (f.rows * f.columns)));
  const int rows = images > 1 ? s.H : std::max<int>(s.S, std::min<int>(s.H, room * s.S / f.columns) / s.S * s.S);
  const int tiles = (s.H + rows - 1) / rows;
  const size_t channel_room = static_cast<size_t>(images) * s.H * s.W + LIST_ROOM;
};

// Lists [tile][channel][phase] of the spikes of channels [c0, c1) of some images.
static void find_terms(const Plan& plan, const Places& places, const uint8_t* bits, const float* x, int images, int c0, int c1, uint32_t* list,
                       float* values, Term* terms) {
  const Shape& s = plan.s;
  for (int tile = 0; tile < plan.tiles; ++tile) {
    const int y0 = tile * plan.rows, bytes = (std::min<int>(s.H, y0 + plan.rows) - y0) * s.row_bytes();
    for (int c = c0; c < c1; ++c)
      for (int p = 0; p < plan.phase_count; ++p) {
        if (!plan.phases[p].n) continue;
        int k = 0;
        for (int n = 0; n < images; ++n) {
          const size_t row = (static_cast<size_t>(n) * s.C + c) * s.H + y0;
          const uint32_t shift = (n * plan.frame + static_cast<size_t>(y0 / s.S) * plan.f.columns * plan.block) * 4;
          k += places.list(bits + row * s.row_bytes(), bytes, x ? x + row * s.W : nullptr, p, shift, list + k, values + k);
        }
        terms[(static_cast<size_t>(tile) * s.C + c) * plan.phase_count + p] = {list, values, k};
        list += k, values += k;
      }
  }
}

// sums [C][tap][block] += the gradients of one output block, in `frames`, at the spikes of channels [c0, c1).
static void add_terms(const Plan& plan, const float* frames, const Term* terms, int c0, int c1, float* sums) {
  for (int tile = 0; tile < plan.tiles; ++tile, terms += plan.s.C * plan.phase_count)
    for (int c = c0; c < c1; ++c)
      for (int i = 0; i < plan.group_count; ++i) {
        const Group& group = plan.groups[i];
        float* own[9];
        for (int t = 0; t < group.count; ++t) own[t] = sums + c * plan.sums + group.tap[t] * plan.block;
        group.add(reinterpret_cast<const char*>(frames), terms[c * plan.phase_count + group.phase], group.shift, own);
      }
}

// dw [O, C, KH, KW] of the bits of x and g [N, O, OH, OW]; true if a gradient is not finite: 0 times that is no 0.
extern "C" int spike_weight_gradient(const uint8_t* bits, const float* x, const float* g, float* dw, const Shape* shape) {
  static thread_local Scratch frame_memory, sum_memory, entries, numbers, starts;
  static thread_local Places own_places;
  const Shape s = *shape;
  const Plan plan{s, x != nullptr};
  const int64_t pairs = plan.blocks * s.C;  // of output blocks and channels
  const size_t terms_of_block = s.C * plan.sums, plane = static_cast<size_t>(s.OH()) * s.OW();
  float* sums = sum_memory.get<float>(plan.blocks * terms_of_block);
  uint32_t* lists = entries.get<uint32_t>(plan.channel_room * s.C);
  float* values = numbers.get<float>(x ? plan.channel_room * s.C : 0);
  Term* terms = starts.get<Term>(static_cast<size_t>(plan.tiles) * s.C * plan.phase_count);
  const Places& places = own_places;
  own_places.build(s, plan.f, plan.rows, plan.phase_count, plan.block * 4);
  bool finite = true;
#pragma omp parallel num_threads(s.threads) reduction(&& : finite)
  {
    float* frames = frame_memory.get<float>(plan.frame * plan.images);
#pragma omp for
    for (int o = 0; o < plan.blocks; ++o) memset(sums + o * terms_of_block, 0, terms_of_block * 4);
    for (int64_t n0 = 0; n0 < s.N; n0 += plan.images) {
      const int images = std::min<int64_t>(plan.images, s.N - n0);
#pragma omp for schedule(static)
      for (int part = 0; part < s.threads; ++part) {
        const int c0 = s.C * part / s.threads, c1 = s.C * (part + 1) / s.threads;
        find_terms(plan, places, bits + n0 * s.image_bits(), x ? x + n0 * s.C * s.H * s.W : nullptr, images, c0, c1, lists + plan.channel_room * c0,
                   values + (x ? plan.channel_room * c0 : 0), terms);
      }
#pragma omp for schedule(static)
      for (int part = 0; part < s.threads; ++part) {
        const int64_t first = pairs * part / s.threads, last = pairs * (part + 1) / s.threads;
        for (int64_t o = first / s.C; o * s.C < last; ++o) {
          const int outputs = std::min<int64_t>(plan.block, s.O - o * plan.block);
          for (int n = 0; n < images; ++n)
            finite = frame_gradient(g + ((n0 + n) * s.O + o * plan.block) * plane, s, plan.f, plan.block, outputs, frames + n * plan.frame) && finite;
          add_terms(plan, frames, terms, std::max<int64_t>(0, first - o * s.C), std::min(s.C, last - o * s.C), sums + o * terms_of_block);
        }
      }
    }
#pragma omp for
    for (int o = 0; o < plan.blocks; ++o) {
      const size_t count = static_cast<size_t>(s.C) * s.taps();
      to_planes(sums + o * terms_of_block, count, plan.block, dw + o * count * plan.block, count, std::min<int>(plan.block, s.O - o * plan.block), nullptr);
    }
  }
  return !finite;
}
