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

// Rows [y0, y0 + rows) of planes [outputs][H][W] as [rows][columns][block], from column `left` on, with zeros around them;
// false if a number is not finite.
static bool frame_rows(const float* planes, int H, int W, int y0, int rows, int columns, int left, int outputs, int block, float* d) {
  bool finite = true;
  memset(d, 0, static_cast<size_t>(rows) * columns * block * 4);
  for (int y = std::max(0, y0); y < std::min(H, y0 + rows); ++y)
    finite = from_planes(planes + static_cast<size_t>(y) * W, static_cast<size_t>(H) * W, W, outputs, block,
                         d + (static_cast<size_t>(y - y0) * columns + left) * block) && finite;
  return finite;
}

// One output block of the gradient of one image as [rows][columns][block]; false if a number is not finite.
static bool frame_gradient(const float* g, const Shape& s, const Frame& f, int block, int outputs, float* d) {
  const int OH = s.OH(), OW = s.OW();
  if (f.rows == OH && f.columns == OW) return from_planes(g, static_cast<size_t>(OH) * OW, OH * OW, outputs, block, d);
  return frame_rows(g, OH, OW, -f.top, f.rows, f.columns, f.left, outputs, block, d);
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
template <bool VALUED>
static AddTaps adding(int vectors, int taps) {
  if (vectors == 4) return add_taps<1, 4, VALUED>;
  if (taps == 9) return add_taps<9, 1, VALUED>;
  switch (taps) {
    case 1: return vectors == 1 ? add_taps<1, 1, VALUED> : add_taps<1, 2, VALUED>;
    case 2: return vectors == 1 ? add_taps<2, 1, VALUED> : add_taps<2, 2, VALUED>;
    case 3: return vectors == 1 ? add_taps<3, 1, VALUED> : add_taps<3, 2, VALUED>;
    default: return vectors == 1 ? add_taps<4, 1, VALUED> : add_taps<4, 2, VALUED>;
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
      group.add = (valued ? adding<true> : adding<false>)(block / LANES, group.count);
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
  const int block = s.window() ? LANES : std::min(s.block(), (s.taps() == 1 ? 4 : 2) * LANES), blocks = (s.O + block - 1) / block;
  const int group_count = groups_of(s, phases, phase_count, f, block, valued, groups);
  const size_t frame = static_cast<size_t>(f.rows) * f.columns * block, sums = static_cast<size_t>(s.taps()) * block;
  const int room = (s.window() ? WINDOW_GRADIENT : GATHER_GRADIENT) / (block * 4);  // pixels of a tile: whole images, or rows
  const int images = std::max<int>(1, std::min<int>(s.N, room / (f.rows * f.columns)));
  const int rows = images > 1 ? s.H : std::max<int>(s.S, std::min<int>(s.H, room * s.S / f.columns) / s.S * s.S);
  const int tiles = (s.H + rows - 1) / rows;
  const size_t terms = static_cast<size_t>(s.C) * phase_count;  // of a tile
  int outputs(int64_t o) const { return std::min<int64_t>(block, s.O - o * block); }
};

struct Batch {  // images [n0, n1) whose lists are in the cache together, `plan.images` at a time
  const Plan& plan;
  const uint8_t* bits;
  const float *x, *g;
  int64_t n0, n1;
  size_t spikes = 0;
  Batch(const Plan& plan, const uint8_t* bits, const float* x, const float* g, int64_t first)
      : plan(plan), bits(bits), x(x), g(g), n0(first), n1(first) {
    for (const Shape& s = plan.s; n1 < s.N && spikes < GRADIENT_LISTS;) {
      const int64_t images = std::min<int64_t>(plan.images, s.N - n1);
      spikes += spike_count(bits + n1 * s.image_bits(), images * s.image_bits());
      n1 += images;
    }
  }
};

// Lists [images][tile][channel][phase] of the spikes of channels [c0, c1).
static void find_terms(const Batch& batch, const Places& places, int c0, int c1, uint32_t* list, float* values, Term* terms) {
  const Plan& plan = batch.plan;
  const Shape& s = plan.s;
  for (int64_t n0 = batch.n0; n0 < batch.n1; n0 += plan.images)
    for (int tile = 0; tile < plan.tiles; ++tile, terms += plan.terms) {
      const int y0 = tile * plan.rows, bytes = (std::min<int>(s.H, y0 + plan.rows) - y0) * s.row_bytes();
      for (int c = c0; c < c1; ++c)
        for (int p = 0; p < plan.phase_count; ++p) {
          if (!plan.phases[p].n) continue;
          int k = 0;
          for (int n = 0; n < plan.images && n0 + n < batch.n1; ++n) {
            const size_t row = ((n0 + n) * s.C + c) * s.H + y0;
            const uint32_t shift = (n * plan.frame + static_cast<size_t>(y0 / s.S) * plan.f.columns * plan.block) * 4;
            k += places.list(batch.bits + row * s.row_bytes(), bytes, batch.x ? batch.x + row * s.W : nullptr, p, shift, list + k, values + k);
          }
          terms[c * plan.phase_count + p] = {list, values, k};
          list += k, values += k;
        }
    }
}

// sums [C][tap][block] += the gradients of output block o at the spikes of channels [c0, c1); false if one is not finite.
static bool add_terms(const Batch& batch, const Term* terms, int o, int c0, int c1, float* frames, float* sums) {
  const Plan& plan = batch.plan;
  const Shape& s = plan.s;
  const size_t plane = static_cast<size_t>(s.OH()) * s.OW();
  bool finite = true;
  for (int64_t n0 = batch.n0; n0 < batch.n1; n0 += plan.images) {
    for (int n = 0; n < plan.images && n0 + n < batch.n1; ++n)
      finite = frame_gradient(batch.g + ((n0 + n) * s.O + o * plan.block) * plane, s, plan.f, plan.block, plan.outputs(o),
                              frames + n * plan.frame) && finite;
    for (int tile = 0; tile < plan.tiles; ++tile, terms += plan.terms)
      for (int c = c0; c < c1; ++c)
        for (int i = 0; i < plan.group_count; ++i) {
          const Group& group = plan.groups[i];
          float* own[9];
          for (int t = 0; t < group.count; ++t) own[t] = sums + c * plan.sums + group.tap[t] * plan.block;
          group.add(reinterpret_cast<const char*>(frames), terms[c * plan.phase_count + group.phase], group.shift, own);
        }
  }
  return finite;
}

// dw [O, C, KH, KW] of the bits of x and g [N, O, OH, OW]; true if a gradient is not finite: 0 times that is no 0.
extern "C" int spike_weight_gradient(const uint8_t* bits, const float* x, const float* g, float* dw, const Shape* shape) {
  static thread_local Scratch frame_memory, block_memory, sum_memory, entries, numbers, starts;
  static thread_local Places own_places;
  const Shape s = *shape;
  const Plan plan{s, x != nullptr};
  const int64_t pairs = plan.blocks * s.C;  // of output blocks and channels
  const size_t weights = static_cast<size_t>(s.C) * s.taps(), block = s.C * plan.sums;  // of an output, and sums of a block of them
  const Places& places = own_places;
  own_places.build(s, plan.f, plan.rows, plan.phase_count, plan.block * 4);
  bool finite = true;
  for (int64_t n = 0; n < s.N;) {
    const Batch batch(plan, bits, x, g, n);
    const bool first = n == 0, last = batch.n1 == s.N;
    n = batch.n1;
    float* all_sums = first && last ? nullptr : sum_memory.get<float>(plan.blocks * block);
    const size_t room = batch.spikes + LIST_ROOM;  // of a thread
    uint32_t* lists = entries.get<uint32_t>(room * s.threads);
    float* values = x ? numbers.get<float>(room * s.threads) : nullptr;
    Term* terms = starts.get<Term>((batch.n1 - batch.n0 + plan.images - 1) / plan.images * plan.tiles * plan.terms);
#pragma omp parallel num_threads(s.threads) reduction(&& : finite)
    {
      float* frames = frame_memory.get<float>(plan.frame * plan.images);
#pragma omp for schedule(static)
      for (int part = 0; part < s.threads; ++part)
        find_terms(batch, places, s.C * part / s.threads, s.C * (part + 1) / s.threads, lists + room * part,
                   x ? values + room * part : nullptr, terms);
#pragma omp for schedule(static)
      for (int part = 0; part < s.threads; ++part) {
        const int64_t p0 = pairs * part / s.threads, p1 = pairs * (part + 1) / s.threads;
        for (int64_t o = p0 / s.C; o * s.C < p1; ++o) {
          const int c0 = std::max<int64_t>(0, p0 - o * s.C), c1 = std::min(s.C, p1 - o * s.C);
          float* sums = all_sums ? all_sums + o * block : block_memory.get<float>(block);
          if (first) memset(sums + c0 * plan.sums, 0, (c1 - c0) * plan.sums * 4);
          finite = add_terms(batch, terms, o, c0, c1, frames, sums) && finite;
          float* to = dw + o * plan.block * weights + c0 * s.taps();
          if (last) to_planes(sums + c0 * plan.sums, (c1 - c0) * s.taps(), plan.block, to, weights, plan.outputs(o), nullptr);
        }
      }
    }
  }
  return !finite;
}
