// The CUDA backend: one thread computes VECTOR neighbouring columns, a column being the T numbers of one neuron.
//
// A tensor is outer x steps x inner contiguous numbers, as for the CPU backend. The backward pass recomputes the membranes
// into registers (local memory where STEPS is large). Compiled at run time for one variant, without any CUDA header.
template <typename A>
static __device__ __forceinline__ A round_even(A v) {
  return rint(v);
}
template <typename A>
static __device__ __forceinline__ A exp_negative(A t) {
  return exp(t);
}

#include "neuron.h"

struct BFloat16 {
  unsigned short bits;
};
struct Float16 {
  unsigned short bits;
};

#ifndef EMULATED
NEURON_FN float half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
NEURON_FN unsigned short float_to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

NEURON_FN float widen(float value) { return value; }
NEURON_FN float widen(BFloat16 value) { return __uint_as_float((unsigned int)value.bits << 16); }
NEURON_FN float widen(Float16 value) { return half_to_float(value.bits); }

NEURON_FN void narrow(float value, float& out) { out = value; }
NEURON_FN void narrow(float value, BFloat16& out) {  // to nearest, ties to even; NaN stays NaN
  const unsigned int bits = __float_as_uint(value);
  out.bits = (unsigned short)(value != value ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
NEURON_FN void narrow(float value, Float16& out) { out.bits = float_to_half(value); }

// VECTOR numbers that are loaded and stored by one instruction.
template <typename S, int VECTOR>
struct alignas(sizeof(S) * VECTOR) Pack {
  S at[VECTOR];
};

template <int VECTOR, typename S>
NEURON_FN void load(const S* from, float (&values)[VECTOR]) {
  const Pack<S, VECTOR> pack = *reinterpret_cast<const Pack<S, VECTOR>*>(from);
#pragma unroll
  for (int k = 0; k < VECTOR; ++k) values[k] = widen(pack.at[k]);
}

template <int VECTOR, typename S>
NEURON_FN void store(S* to, const float (&values)[VECTOR]) {
  Pack<S, VECTOR> pack;
#pragma unroll
  for (int k = 0; k < VECTOR; ++k) narrow(values[k], pack.at[k]);
  *reinterpret_cast<Pack<S, VECTOR>*>(to) = pack;
}

// Where this thread's first column begins, or -1 beyond the last; VECTOR divides inner.
template <int VECTOR>
NEURON_FN long long first_number(long long outer, long long steps, long long inner) {
  const long long column = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * VECTOR;
  return column < outer * inner ? column / inner * steps * inner + column % inner : -1;
}

template <typename S, int FORWARD, int STEPS, int VECTOR>
__global__ void neuron_forward(const S* x, S* y, long long outer, long long inner, const Constants<float>* constants) {
  const Constants<float> c = *constants;
  long long at = first_number<VECTOR>(outer, STEPS, inner);
  if (at < 0) return;
  float state[VECTOR] = {}, in[VECTOR], out[VECTOR];
  for (int t = 0; t < STEPS; ++t, at += inner) {
    load(x + at, in);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) {
      const float h = membrane<FORWARD>(state[k], in[k], c);
      out[k] = emit<FORWARD>(h, c);
      state[k] = advance<FORWARD>(h, c);
    }
    store(y + at, out);
  }
}

template <typename S, int FORWARD, int BACKWARD, int STEPS, int VECTOR>
__global__ void neuron_backward(const S* x, const S* grad, S* gx, long long outer, long long inner,
                                const Constants<float>* constants) {
  const Constants<float> c = *constants;
  const long long at = first_number<VECTOR>(outer, STEPS, inner);
  if (at < 0) return;
  float h[STEPS][VECTOR], state[VECTOR] = {}, gv[VECTOR] = {}, g[VECTOR];
#pragma unroll
  for (int t = 0; t < STEPS; ++t) {
    load(x + at + t * inner, h[t]);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) {
      h[t][k] = membrane<FORWARD>(state[k], h[t][k], c);
      state[k] = advance<FORWARD>(h[t][k], c);
    }
  }
#pragma unroll
  for (int t = STEPS - 1; t >= 0; --t) {
    load(grad + at + t * inner, g);
#pragma unroll
    for (int k = 0; k < VECTOR; ++k) g[k] = input_gradient<BACKWARD>(h[t][k], g[k], gv[k], c);
    store(gx + at + t * inner, g);
  }
}
