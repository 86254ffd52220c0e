// Every template instance of neurons.cu that the tests launch, with five steps.
#include "cuda_shim.h"

#include "neurons.cu"

#include <utility>

template <typename Kernel>
static void each_thread(unsigned blocks, unsigned threads, Kernel kernel) {
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) kernel();
}

struct Launch {
  void *x, *grad, *out;
  long long outer, inner;
  const Constants<float>* constants;
  unsigned blocks, threads;
};

template <typename S, int VECTOR, int FORWARD>
static void forward(const Launch& l) {
  each_thread(l.blocks, l.threads, [&] {
    neuron_forward<S, FORWARD, 5, VECTOR>((S*)l.x, (S*)l.out, l.outer, l.inner, l.constants);
  });
}

// A charge is the same for both outputs, so the first of the two forward codes serves.
template <typename S, int VECTOR, int FORWARD, int BACKWARD>
static void backward(const Launch& l) {
  each_thread(l.blocks, l.threads, [&] {
    neuron_backward<S, FORWARD, BACKWARD, 5, VECTOR>((S*)l.x, (S*)l.grad, (S*)l.out, l.outer, l.inner, l.constants);
  });
}

template <typename S, int VECTOR, size_t... F>
static void any_forward(const Launch& l, int code, std::index_sequence<F...>) {
  ((code == F ? forward<S, VECTOR, F>(l) : void()), ...);
}
template <typename S, int VECTOR, int FORWARD, int FIRST, size_t... B>
static void any_backward(const Launch& l, int code, std::index_sequence<B...>) {
  ((code == FIRST + int(B) ? backward<S, VECTOR, FORWARD, FIRST + B>(l) : void()), ...);
}

template <typename S, int VECTOR>
static void run(const Launch& l, int forward_code, int backward_code) {
  using Lif = std::make_index_sequence<INTEGER_CLOSED>;
  using Integer = std::make_index_sequence<BACKWARDS - INTEGER_CLOSED>;
  if (backward_code < 0) return any_forward<S, VECTOR>(l, forward_code, std::make_index_sequence<FORWARDS>{});
  if (forward_code == INTEGER_HALF_EVEN)
    any_backward<S, VECTOR, INTEGER_HALF_EVEN, INTEGER_CLOSED>(l, backward_code, Integer{});
  else if (forward_code == INTEGER_HALF_UP)
    any_backward<S, VECTOR, INTEGER_HALF_UP, INTEGER_CLOSED>(l, backward_code, Integer{});
  else if (forward_code % CHARGES == LEAKY_DIVIDE)
    any_backward<S, VECTOR, LEAKY_DIVIDE, 0>(l, backward_code, Lif{});
  else if (forward_code % CHARGES == LEAKY_MULTIPLY)
    any_backward<S, VECTOR, LEAKY_MULTIPLY, 0>(l, backward_code, Lif{});
  else
    any_backward<S, VECTOR, DECAY, 0>(l, backward_code, Lif{});
}

// Backward code -1 launches the forward kernel.
extern "C" void launch(const Launch* l, int storage, int vector, int forward_code, int backward_code) {
  if (storage == 0 && vector == 1) run<float, 1>(*l, forward_code, backward_code);
  if (storage == 0 && vector == 4) run<float, 4>(*l, forward_code, backward_code);
  if (storage == 1 && vector == 8) run<BFloat16, 8>(*l, forward_code, backward_code);
  if (storage == 2 && vector == 8) run<Float16, 8>(*l, forward_code, backward_code);
}
