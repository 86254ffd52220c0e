// Convolutions that skip zeros: 2-D, any kernel, stride and padding, dilation 1, one group, float32, contiguous NCHW.
//
// What is not zero is found once and kept as bits, a row of pixels padded to whole bytes. The forward pass adds, for each
// output pixel, the weights of the inputs that are there; the weight gradient adds, for each weight, the gradients of the
// pixels whose input is there. Inputs of other values than 0 and 1 are read again and multiplied. A 3 x 3 kernel of stride 1
// keeps nine sums in registers per input ("window"), all others go a tap at a time ("gather"). The gradient at the input
// has no zeros to skip; that of a 3 x 3 kernel of stride 1 is in winograd.h, PyTorch computes the others.
//
// Every sum is formed in one order whatever the number of threads.

#include "spike_forward.h"
#include "spike_gradient.h"
#include "winograd.h"

extern "C" int spike_runs_here() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return 1;
#endif
}

extern "C" const char* source_hash() { return SOURCE_HASH; }
