// Decoding recordings and counting events, one pass each, behind a C interface.
//
// Every function returns false (or -1) at the first thing it cannot accept; the caller then does the same work in
// Python, which knows how to say what is wrong.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace {

#pragma pack(push, 1)
struct Event {  // `EVENT` of event.py
  int64_t t;
  int16_t x, y;
  uint8_t p;
};
#pragma pack(pop)
static_assert(sizeof(Event) == 13);

template <typename Number>
Number read(const uint8_t* bytes) {
  Number number;
  memcpy(&number, bytes, sizeof number);
  return number;
}

uint32_t swapped(uint32_t word) {
  return word >> 24 | (word >> 8 & 0xff00) | (word << 8 & 0xff0000) | word << 24;
}

uint32_t read_little(const uint8_t* bytes) {
  const auto word = read<uint32_t>(bytes);
  return std::endian::native == std::endian::little ? word : swapped(word);
}

uint32_t read_big(const uint8_t* bytes) {
  return swapped(read_little(bytes));
}

constexpr int LINE = 64;     // bytes of a cache line
constexpr int AHEAD = 2048;  // bytes from an event to the one that is fetched: recordings come from outside the caches

#ifdef __x86_64__
// Where four events at a time are counted in [2, height, width].
class Cells {
 public:
  static bool serve(uint32_t height, uint32_t width) { return height - 1 < 0x7fff && width - 1 < 0x7fff; }

  Cells(uint32_t height, uint32_t width)
      : last(_mm_set1_epi32((height - 1) << 16 | (width - 1))),
        strides(_mm_set1_epi32(width << 16 | 1)),
        plane(_mm_set1_epi32(height * width)) {}

  // Two cells in each of `pairs`, or false if an event lies outside; reads 3 bytes behind the fourth event too.
  bool of(const Event* events, uint64_t (&pairs)[2]) const {
    const auto fields = [&](int k) { return _mm_loadl_epi64((const __m128i*)&events[k].x); };  // x, y, p, 3 more
    const __m128i zero = _mm_setzero_si128();
    const __m128i front = _mm_unpacklo_epi32(fields(0), fields(1)), back = _mm_unpacklo_epi32(fields(2), fields(3));
    const __m128i places = _mm_unpacklo_epi64(front, back), polarities = _mm_unpackhi_epi64(front, back);
    const __m128i excess = _mm_subs_epu16(places, last);  // a negative place is a large one
    const __m128i off = _mm_cmpeq_epi32(_mm_and_si128(polarities, _mm_set1_epi32(0xff)), zero);
    const __m128i cell = _mm_add_epi32(_mm_madd_epi16(places, strides), _mm_andnot_si128(off, plane));
    pairs[0] = _mm_cvtsi128_si64(cell), pairs[1] = _mm_cvtsi128_si64(_mm_unpackhi_epi64(cell, cell));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(excess, zero)) == 0xffff;
  }

 private:
  __m128i last, strides, plane;
};
#endif

// Counts [2, height, width] of the events from `event` to `end`, whose times must not go backwards if ORDERED. A frame
// is cleared right before it is counted into: usually it fits the second-level cache.
template <bool ORDERED>
bool count(const Event* event, const Event* end, uint32_t height, uint32_t width, int32_t* counts) {
  memset(counts, 0, 2 * sizeof *counts * height * width);
  int64_t before = event < end ? event->t : 0;
  const auto in_order = [&](int64_t t) { return !ORDERED || std::exchange(before, t) <= t; };
#ifdef __x86_64__
  if (Cells::serve(height, width)) {
    const Cells cells(height, width);
    const uint8_t* next = reinterpret_cast<uint8_t*>(counts + size_t(2) * height * width);  // frame, soon to be cleared
    for (uint64_t pairs[2]; end - event > 4; event += 4, next += LINE) {
      __builtin_prefetch(reinterpret_cast<const uint8_t*>(event) + AHEAD, 0, 0);  // each event is read once
      __builtin_prefetch(next, 1);
      if (!cells.of(event, pairs)) return false;
      for (int k = 0; k < 4; ++k)
        if (!in_order(event[k].t)) return false;
      for (const uint64_t pair : pairs) ++counts[uint32_t(pair)], ++counts[pair >> 32];
    }
  }
#endif
  for (; event < end; ++event) {
    const uint32_t x = event->x, y = event->y;  // a negative one becomes larger than any side
    if (x >= width || y >= height || !in_order(event->t)) return false;
    ++counts[(size_t(event->p != 0) * height + y) * width + x];
  }
  return true;
}

struct Packet {  // of AEDAT 3.1, little-endian
  static constexpr int64_t HEADER = 28, EVENT = 8;
  bool polarity;
  uint64_t size, capacity;
  int64_t overflow;

  explicit Packet(const uint8_t* header)
      : polarity((header[0] | header[1] << 8) == 1),
        size(read_little(header + 4)),
        capacity(read_little(header + 16)),
        overflow(read_little(header + 12)) {}
};

}  // namespace

extern "C" const char* source_hash() { return SOURCE_HASH; }  // by setup.py, see common/compiled.py

extern "C" {

// Counts [steps, 2, height, width] of equally many events per frame; the last takes the remainder.
bool count_by_number(const Event* events, int64_t n, int64_t steps, uint32_t height, uint32_t width,
                     int32_t* counts) {
  const int64_t each = n / steps;
  for (int64_t step = 0; step < steps; ++step, counts += int64_t(2) * height * width) {
    const int64_t end = step + 1 < steps ? each * (step + 1) : n;
    if (!count<false>(events + each * step, events + end, height, width, counts)) return false;
  }
  return true;
}

// Counts as above of frames that begin at the times `starts`; the last one reaches to the end.
bool count_by_time(const Event* events, int64_t n, const int64_t* starts, int64_t steps, uint32_t height,
                   uint32_t width, int32_t* counts) {
  const Event *const last = events + n, *event = events;
  for (int64_t step = 0; step < steps; ++step, counts += int64_t(2) * height * width) {
    const auto earlier = [](const Event& e, int64_t t) { return e.t < t; };
    const Event* end = step + 1 < steps ? std::lower_bound(event, last, starts[step + 1], earlier) : last;
    const bool follows = event == events || event == last || event[-1].t <= event->t;
    if (!follows || !count<true>(event, end, height, width, counts)) return false;
    event = end;
  }
  return true;
}

// Events from n big-endian pairs (address, time) of a DVS128; `turned` is the orientation of CIFAR10-DVS.
bool decode_aedat2(const uint8_t* words, int64_t n, bool turned, Event* events) {
  for (int64_t i = 0; i < n; ++i, words += 8) {
    const uint32_t address = read_big(words);
    if (address >> 16) return false;
    const int16_t x = address >> 1 & 127, y = address >> 8 & 127;
    const uint8_t p = address & 1;
    events[i] = turned ? Event{read_big(words + 4), int16_t(127 - y), int16_t(127 - x), uint8_t(1 - p)}
                       : Event{read_big(words + 4), x, y, p};
  }
  return true;
}

// Number of polarity events in the AEDAT 3.1 packets that fill `size` bytes, -1 if they do not fill them exactly.
int64_t count_aedat3(const uint8_t* content, int64_t size) {
  int64_t count = 0;
  while (size > 0) {
    if (size < Packet::HEADER) return -1;
    const Packet packet(content);
    const uint64_t bytes = packet.size * packet.capacity;
    if (bytes > uint64_t(size - Packet::HEADER) || (packet.polarity && packet.size != Packet::EVENT)) return -1;
    if (packet.polarity) count += packet.capacity;
    content += Packet::HEADER + bytes;
    size -= Packet::HEADER + bytes;
  }
  return count;
}

// The events that count_aedat3 counted.
void decode_aedat3(const uint8_t* content, int64_t size, Event* events) {
  for (const uint8_t* end = content + size; content < end;) {
    const Packet packet(content);
    content += Packet::HEADER;
    const uint8_t* next = content + packet.size * packet.capacity;
    for (; packet.polarity && content < next; content += Packet::EVENT) {
      const uint32_t data = read_little(content);
      const int64_t time = read_little(content + 4) | packet.overflow << 31;
      *events++ = {time, int16_t(data >> 17 & 0x7fff), int16_t(data >> 2 & 0x7fff), uint8_t(data >> 1 & 1)};
    }
    content = next;
  }
}

// Events from n ATIS events of 5 bytes.
void decode_atis(const uint8_t* bytes, int64_t n, Event* events) {
  for (int64_t i = 0; i < n; ++i, bytes += 5)
    events[i] = {(bytes[2] & 127) << 16 | bytes[3] << 8 | bytes[4], bytes[0], bytes[1], uint8_t(bytes[2] >> 7)};
}
}
