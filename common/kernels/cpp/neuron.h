// The arithmetic of a neuron at one time step, shared by the C++ and the CUDA backend.
//
// N is a number, or a vector of them on the CPU; A is the type of one. The operations and their order are those of
// common/kernels/reference.py, so spikes are equal bit for bit; the compiler must not contract a * b + c into one rounding
// (-ffp-contract=off, --fmad=false). Gradients are equal up to rounding. What a coefficient of `Constants` can express
// (reset, strictness, ReLU) is one; the other choices are template arguments, numbered as in common/kernels/encoding.py.
//
// A backend defines, before including this file, round_even<A>(N) for numbers of at most 22 bits and exp_negative<A>(N),
// which is exp for arguments of at most 0.
#pragma once

#ifdef __CUDACC__
#define NEURON_FN static __device__ __forceinline__
#else
#define NEURON_FN static inline __attribute__((always_inline))
#endif

// FORWARD is charge + 3 * graded for LIF, then the two roundings of the integer neuron.
enum Charge { LEAKY_DIVIDE, LEAKY_MULTIPLY, DECAY, CHARGES };
enum { INTEGER_HALF_EVEN = 2 * CHARGES, INTEGER_HALF_UP, FORWARDS };
// BACKWARD is surrogate + 4 * detached + 8 * graded for LIF, then the two clamp windows of the integer neuron.
enum SurrogateKind { ATAN, SIGMOID, RECTANGLE, TRIANGLE, SURROGATES };
enum { INTEGER_CLOSED = 4 * SURROGATES, INTEGER_OPEN, BACKWARDS };

// In the order of `CONSTANTS` in common/kernels/encoding.py.
template <typename A>
struct Constants {
  A tau, inverse_tau;    // leaky charge; the inverse where it is exact
  A decay, beta;         // decay charge
  A threshold, bound;    // fires where h > bound: the threshold, or the number just below it where a tie fires
  A keep, level;         // a spike resets h to keep h + level
  A shift, floor;        // graded output max(floor, h - shift)
  A height, width;       // surrogate
  A to_input, to_state;  // dh/dx and dh/dv
  A top, norm;           // integer neuron
};
enum { CONSTANTS = 16 };

// The membrane before the reset, from the state that `advance` left (0 at the first step).
template <int FORWARD, typename N, typename A>
NEURON_FN N membrane(N state, N x, const Constants<A>& c) {
  constexpr int charge = FORWARD < INTEGER_HALF_EVEN ? FORWARD % CHARGES : int(DECAY);
  if constexpr (charge == LEAKY_DIVIDE)
    return state + (x - state) / c.tau;
  else if constexpr (charge == LEAKY_MULTIPLY)
    return state + (x - state) * c.inverse_tau;
  else
    return state + x;
}

template <int FORWARD, typename N, typename A>
NEURON_FN N rounded(N v, const Constants<A>& c) {
  N clamped = v < A(0) ? N{} : v;  // comparisons this way round let NaN through, as the reference does
  clamped = clamped > c.top ? N{} + c.top : clamped;
  if constexpr (FORWARD == INTEGER_HALF_EVEN) return round_even<A>(clamped);
  const N raised = clamped + A(0.5), nearest = round_even<A>(raised);
  return nearest > raised ? nearest - A(1) : nearest;
}

template <int FORWARD, typename N, typename A>
NEURON_FN N emit(N h, const Constants<A>& c) {
  if constexpr (FORWARD >= INTEGER_HALF_EVEN) {
    return rounded<FORWARD>(h, c) / c.norm;
  } else if constexpr (FORWARD >= CHARGES) {
    const N graded = h - c.shift;
    return graded < c.floor ? N{} + c.floor : graded;
  } else {
    return h > c.bound ? N{} + A(1) : N{};
  }
}

template <int FORWARD, typename N, typename A>
NEURON_FN N advance(N h, const Constants<A>& c) {
  if constexpr (FORWARD >= INTEGER_HALF_EVEN) {
    return h - rounded<FORWARD>(h, c);
  } else {
    const N v = h > c.bound ? h * c.keep + c.level : h;
    return FORWARD % CHARGES == DECAY ? v * c.decay + c.beta : v;
  }
}

template <int KIND, typename N, typename A>
NEURON_FN N surrogate(N z, const Constants<A>& c) {
  const N size = z < A(0) ? -z : z;
  if constexpr (KIND == ATAN) {
    return c.height / ((z * c.width) * (z * c.width) + A(1));
  } else if constexpr (KIND == SIGMOID) {
    const N e = exp_negative<A>(size * -c.width), sum = e + A(1);
    return e * c.height / (sum * sum);
  } else if constexpr (KIND == RECTANGLE) {
    return size < c.width ? N{} + c.height : N{};
  } else {
    return size < c.width ? (c.width - size) * c.height : N{};
  }
}

// dL/dx of one step, from its membrane h, the gradient g at its output and the gradient gv at the state after its reset,
// which becomes the one at the state before.
template <int BACKWARD, typename N, typename A>
NEURON_FN N input_gradient(N h, N g, N& gv, const Constants<A>& c) {
  if constexpr (BACKWARD >= INTEGER_CLOSED) {
    const N through = g / c.norm;
    if constexpr (BACKWARD == INTEGER_OPEN)
      gv = h > A(0) ? (h < c.top ? through : gv) : gv;
    else
      gv = h >= A(0) ? (h <= c.top ? through : gv) : gv;
    return gv;
  } else {
    constexpr bool detached = BACKWARD / SURROGATES % 2, graded = BACKWARD / SURROGATES / 2;
    N gh = h > c.bound ? gv * c.keep : gv;
    if constexpr (!graded || !detached) {
      N at_spike = graded ? N{} : g;
      if constexpr (!detached) at_spike += gv * (h * (c.keep - A(1)) + c.level);
      gh += at_spike * surrogate<BACKWARD % SURROGATES>(h - c.threshold, c);
    }
    if constexpr (graded) gh += h - c.shift > c.floor ? g : N{};
    gv = gh * c.to_state;
    return gh * c.to_input;
  }
}
