// The CPU backend: forward and recomputing backward of every neuron variant, behind a C interface without torch headers.
//
// A tensor is outer x steps x inner contiguous numbers, wherever its time axis stands; a column is the T numbers of one
// neuron. Work is done in chunks of neighbouring columns, whose state lives in registers over all steps. The backward pass
// recomputes the membranes of a chunk from x, so nothing but x is kept between the passes.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "vectors.h"

#include "neuron.h"

namespace {

constexpr int CHUNK_BYTES = 256;             // of a chunk at one step: four cache lines, a state that fits in registers
constexpr int64_t STREAM_FROM = 4 << 20;     // bytes of output from which stores go past the caches
constexpr int64_t PARALLEL_FROM = 1 << 15;   // numbers from which threads are worth waking
constexpr int64_t STEPS_FOLLOWED = 4;        // more planes than these at a time are no longer fetched ahead by themselves
constexpr int64_t STEPS_AHEAD = 8;           // instead, this many steps before they are used

template <typename S>
constexpr int CHUNK = CHUNK_BYTES / sizeof(S);  // columns
template <typename S>
constexpr int GROUP = CHUNK<S> / Vectors<S>::LANES;  // vectors
template <typename S>
using ConstantsOf = Constants<typename Vectors<S>::A>;

enum Storage { FLOAT32, BFLOAT16, FLOAT64, FLOAT16 };

struct Shape {
  int64_t outer, steps, inner;
  int threads;
  int64_t columns() const { return outer * inner; }
  int64_t numbers() const { return columns() * steps; }
  int64_t offset(int64_t column) const { return column / inner * steps * inner + column % inner; }
};

// Calls body(k) for each vector of a chunk, unrolled.
template <typename S, typename Body>
inline __attribute__((always_inline)) void for_each_vector(Body body) {
  [&]<int... K>(std::integer_sequence<int, K...>) __attribute__((always_inline)) {
    (body(K), ...);
  }(std::make_integer_sequence<int, GROUP<S>>{});
}

// How many steps ahead of their use numbers are fetched, 0 where the processor does it.
inline int64_t steps_ahead(int64_t steps) { return steps > STEPS_FOLLOWED ? std::min(STEPS_AHEAD, steps) : 0; }

// Starts to fetch one step of a chunk into the second-level cache.
inline __attribute__((always_inline)) void fetch(const void* step) {
  for (int line = 0; line < CHUNK_BYTES; line += 64) __builtin_prefetch((const char*)step + line, 0, 2);
}

// Output of one chunk; `x_stride` and `stride` numbers lie between two steps. The spikes are bits of `places`, unless null.
template <typename S, int FORWARD>
void output_chunk(const S* x, S* y, uint8_t* places, int64_t steps, int64_t x_stride, int64_t stride, bool streamed,
                  const ConstantsOf<S>& constants) {
  constexpr bool SPIKES = FORWARD < CHARGES;
  const ConstantsOf<S> c = constants;  // a copy that y cannot alias
  const S* const next = x + CHUNK<S>;
  const int64_t ahead = steps_ahead(steps);
  typename Vectors<S>::N state[GROUP<S>] = {};
  for (int64_t t = 0; t < steps; ++t) {
    const int64_t coming = t + ahead;
    if (ahead) fetch(coming < steps ? x + coming * x_stride : next + (coming - steps) * x_stride);
    uint64_t set = 0;
    static_assert(CHUNK<float> == 8 * sizeof set, "as CHUNK of known.py says");
    for_each_vector<S>([&](int k) __attribute__((always_inline)) {
      const int64_t at = k * Vectors<S>::LANES;
      const auto h = membrane<FORWARD>(state[k], load(x + t * x_stride + at), c);
      const auto output = emit<FORWARD>(h, c);
      store<SPIKES>(y + t * stride + at, output, streamed);
      if constexpr (SPIKES && __is_same(S, float)) set |= ones(output) << at;
      state[k] = advance<FORWARD>(h, c);
    });
    if (places) memcpy(places + t * stride / 8, &set, sizeof set);
  }
}

// Membranes of one chunk into h, [steps, GROUP]; then the gradient is read, from its last step to its first.
template <typename S, int FORWARD>
void membrane_chunk(const S* x, const S* grad, typename Vectors<S>::N* h, int64_t steps, int64_t stride,
                    const ConstantsOf<S>& constants) {
  const ConstantsOf<S> c = constants;
  const S* const last = grad + (steps - 1) * stride;
  const int64_t ahead = steps_ahead(steps);
  typename Vectors<S>::N state[GROUP<S>] = {};
  for (int64_t t = 0; t < steps; ++t, h += GROUP<S>) {
    const int64_t coming = t + ahead;
    if (ahead) fetch(coming < steps ? x + coming * stride : last - (coming - steps) * stride);
    for_each_vector<S>([&](int k) __attribute__((always_inline)) {
      h[k] = membrane<FORWARD>(state[k], load(x + t * stride + k * Vectors<S>::LANES), c);
      state[k] = advance<FORWARD>(h[k], c);
    });
  }
}

// Gradient of one chunk from its membranes; then the x of the next chunk is read.
template <typename S, int BACKWARD>
void gradient_chunk(const S* x, const typename Vectors<S>::N* h, const S* grad, S* gx, int64_t steps, int64_t stride,
                    bool streamed, const ConstantsOf<S>& constants) {
  const ConstantsOf<S> c = constants;
  const S* const next = x + CHUNK<S>;
  const int64_t ahead = steps_ahead(steps);
  typename Vectors<S>::N gv[GROUP<S>] = {};
  for (int64_t t = steps; t-- > 0;) {
    if (ahead) fetch(t >= ahead ? grad + (t - ahead) * stride : next + (ahead - 1 - t) * stride);
    for_each_vector<S>([&](int k) __attribute__((always_inline)) {
      const int64_t at = t * stride + k * Vectors<S>::LANES;
      store<false>(gx + at, input_gradient<BACKWARD>(h[t * GROUP<S> + k], load(grad + at), gv[k], c), streamed);
    });
  }
}

template <typename S, size_t... CODE>
auto pick_output(int forward, std::index_sequence<CODE...>) {
  static constexpr decltype(&output_chunk<S, 0>) chunks[] = {output_chunk<S, CODE>...};
  return chunks[forward];
}
template <typename S, size_t... CODE>
auto pick_membrane(int forward, std::index_sequence<CODE...>) {
  static constexpr decltype(&membrane_chunk<S, 0>) chunks[] = {membrane_chunk<S, CODE>...};
  return chunks[forward];
}
template <typename S, size_t... CODE>
auto pick_gradient(int backward, std::index_sequence<CODE...>) {
  static constexpr decltype(&gradient_chunk<S, 0>) chunks[] = {gradient_chunk<S, CODE>...};
  return chunks[backward];
}

// One thread's view of a tensor: a chunk that ends within its inner block is worked on in place, any other (the last one,
// or all where the inner block is small) in a packed copy.
template <typename S>
class Window {
 public:
  explicit Window(const Shape& shape) : shape(shape), packed(shape.steps * CHUNK<S>) {}

  int64_t stride(int64_t first) const { return shape.steps == 1 ? 0 : in_place(first) ? shape.inner : CHUNK<S>; }
  S* target(S* tensor, int64_t first) { return in_place(first) ? tensor + shape.offset(first) : packed.data(); }

  const S* read(const S* tensor, int64_t first) {
    if (!in_place(first))
      for_each_run(first, [&](int64_t at, int64_t in_chunk, size_t bytes) {
        memcpy(&packed[in_chunk], tensor + at, bytes);
      });
    return target(const_cast<S*>(tensor), first);
  }
  void write(S* tensor, int64_t first) {
    if (!in_place(first))
      for_each_run(first, [&](int64_t at, int64_t in_chunk, size_t bytes) {
        memcpy(tensor + at, &packed[in_chunk], bytes);
      });
  }

 private:
  bool in_place(int64_t first) const { return first % shape.inner + CHUNK<S> <= shape.inner; }

  // Calls move(number in the tensor, number in the chunk, bytes) on the contiguous pieces of a chunk.
  template <typename Move>
  void for_each_run(int64_t first, Move move) {
    const int64_t last = std::min(first + CHUNK<S>, shape.columns());
    for (int64_t column = first; column < last;) {
      const int64_t run = std::min(last - column, shape.inner - column % shape.inner);
      for (int64_t t = 0; t < shape.steps; ++t)
        move(shape.offset(column) + t * shape.inner, t * CHUNK<S> + column - first, run * sizeof(S));
      column += run;
    }
  }

  const Shape shape;
  std::vector<S> packed;
};

// Calls work(first column) on every chunk; make_worker gives each thread a `work` with its own buffers.
template <typename S, typename MakeWorker>
void for_each_chunk(const Shape& shape, MakeWorker make_worker) {
  const int64_t chunks = (shape.columns() + CHUNK<S> - 1) / CHUNK<S>;
  const bool parallel = shape.threads > 1 && shape.numbers() >= PARALLEL_FROM;
#pragma omp parallel num_threads(shape.threads) if (parallel)
  {
    auto work = make_worker();
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    for (int64_t chunk = chunks * thread / threads; chunk < chunks * (thread + 1) / threads; ++chunk)
      work(chunk * CHUNK<S>);
    finish_streams();
  }
}

template <typename S>
bool streams(const Shape& shape, const S* out) {
  const bool aligned = (uintptr_t)out % VECTOR_BYTES == 0 && shape.inner % CHUNK<S> == 0;  // all chunks are in place
  return aligned && shape.numbers() * int64_t(sizeof(S)) >= STREAM_FROM;
}

template <typename S>
ConstantsOf<S> narrowed(const double* values) {
  using A = typename Vectors<S>::A;
  A numbers[CONSTANTS];
  std::copy(values, values + CONSTANTS, numbers);
  ConstantsOf<S> c;
  static_assert(sizeof c == sizeof numbers, "CONSTANTS counts the fields");
  memcpy(&c, numbers, sizeof numbers);
  const bool tie_fires = values[5] < values[4];
  if (tie_fires) c.bound = std::nextafter(c.threshold, -std::numeric_limits<A>::infinity());
  return c;
}

template <typename S>
void forward(const S* x, S* y, uint8_t* places, const Shape& shape, int64_t x_steps, int code, const double* constants) {
  const auto c = narrowed<S>(constants);
  const auto output = pick_output<S>(code, std::make_index_sequence<FORWARDS>{});
  const bool streamed = streams(shape, y);
  const Shape given{shape.outer, x_steps, shape.inner, shape.threads};
  for_each_chunk<S>(shape, [&] {
    return [&, in = Window<S>(given), out = Window<S>(shape)](int64_t first) mutable {
      uint8_t* const own = places ? places + shape.offset(first) / 8 : nullptr;
      output(in.read(x, first), out.target(y, first), own, shape.steps, in.stride(first), out.stride(first), streamed, c);
      out.write(y, first);
    };
  });
}

template <typename S>
void backward(const S* x, const S* grad, S* gx, const Shape& shape, int forward_code, int code,
              const double* constants) {
  const auto c = narrowed<S>(constants);
  const auto recompute = pick_membrane<S>(forward_code, std::make_index_sequence<FORWARDS>{});
  const auto gradient = pick_gradient<S>(code, std::make_index_sequence<BACKWARDS>{});
  const bool streamed = streams(shape, gx);
  for_each_chunk<S>(shape, [&] {
    return [&, h = std::vector<typename Vectors<S>::N>(shape.steps * GROUP<S>), in = Window<S>(shape),
            at_output = Window<S>(shape), out = Window<S>(shape)](int64_t first) mutable {
      const int64_t stride = in.stride(first);
      const S *drive = in.read(x, first), *at = at_output.read(grad, first);
      recompute(drive, at, h.data(), shape.steps, stride, c);
      gradient(drive, h.data(), at, out.target(gx, first), shape.steps, stride, streamed, c);
      out.write(gx, first);
    };
  });
}

// Calls run with a null pointer of the storage type, to choose among templates.
template <typename Run>
void with_storage(int storage, Run run) {
  switch (storage) {
    case FLOAT32: return run((float*)nullptr);
    case BFLOAT16: return run((BFloat16*)nullptr);
    case FLOAT64: return run((double*)nullptr);
    case FLOAT16: return run((Float16*)nullptr);
  }
}

}  // namespace

extern "C" const char* source_hash() { return SOURCE_HASH; }  // by setup.py, see common/compiled.py

extern "C" {

// Whether this processor has what the compiler was allowed to use.
int neuron_runs_here() {
#ifdef __AVX512F__
  if (!__builtin_cpu_supports("avx512f")) return 0;
#endif
#ifdef __AVX512BW__
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl")) return 0;
#endif
#ifdef __AVX512BF16__
  if (!__builtin_cpu_supports("avx512bf16")) return 0;
#endif
#ifdef __AVX2__
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
#endif
  return 1;
}

int neuron_has_float16() {
#ifdef __F16C__
  return 1;
#else
  return 0;
#endif
}

// x has one step for all of those of y, or as many. `places`: y as bits, or null; for float32 spikes and inner blocks of
// whole chunks.
void neuron_forward(const void* x, void* y, void* places, int64_t x_steps, int64_t outer, int64_t steps, int64_t inner,
                    int storage, int threads, int code, const double* constants) {
  with_storage(storage, [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    forward((const S*)x, (S*)y, (uint8_t*)places, {outer, steps, inner, threads}, x_steps, code, constants);
  });
}

void neuron_backward(const void* x, const void* grad, void* gx, int64_t outer, int64_t steps, int64_t inner, int storage,
                     int threads, int forward_code, int code, const double* constants) {
  with_storage(storage, [&](auto* type) {
    using S = std::remove_pointer_t<decltype(type)>;
    backward((const S*)x, (const S*)grad, (S*)gx, {outer, steps, inner, threads}, forward_code, code, constants);
  });
}
}
