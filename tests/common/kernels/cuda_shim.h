// Just enough CUDA for g++ to execute neurons.cu, one thread after another. It cannot see races or misaligned access.
#include <cmath>
#include <cstring>

#define EMULATED
#define __CUDACC__
#define __global__
#define __device__
#define __forceinline__ inline

static struct {
  unsigned x;
} blockIdx, threadIdx, blockDim;

static float __uint_as_float(unsigned bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static unsigned __float_as_uint(float value) {
  unsigned bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float half_to_float(unsigned short bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent     ? ldexpf(1024 + mantissa, exponent - 25)
                                    : ldexpf(mantissa, -24);
  return bits >> 15 ? -size : size;
}
static unsigned short float_to_half(float value) {
  const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
  const float size = fabsf(value);
  if (size == 0) return sign;
  if (size != size) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  int exponent;
  frexpf(size, &exponent);                             // size = fraction * 2^exponent, fraction in [0.5, 1)
  const int step = (exponent < -13 ? -13 : exponent) - 11;  // of the last of 11 significant bits
  const int units = (int)nearbyintf(ldexpf(size, -step));
  return sign | (unsigned short)(units + ((step + 24) << 10));
}
