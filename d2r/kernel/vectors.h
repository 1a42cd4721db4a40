// Vectors of float or double as wide as the processor has them, and memory for them.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

// A tile of a product is held in registers: TILE_ROWS rows of two vectors, one more for each factor's part.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, TILE_ROWS = 12;  // of 32 registers
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32, TILE_ROWS = 6;  // of 16
#else
constexpr int VECTOR_BYTES = 16, TILE_ROWS = 6;
#endif

template <class T> struct Vectors;
template <> struct Vectors<float> {
  typedef float Values __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Integer;
  static constexpr int MANTISSA = 23, BIAS = 127, TERMS = 7;
  static constexpr float LEAST = -87.0f, ROUND = 12582912.0f, LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.42860677e-6f;
};
template <> struct Vectors<double> {
  typedef double Values __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t Integer;
  static constexpr int MANTISSA = 52, BIAS = 1023, TERMS = 13;
  static constexpr double LEAST = -708.0, ROUND = 6755399441055744.0, LN2_HIGH = 6.93147180369123816490e-01,
                          LN2_LOW = 1.90821492927058770002e-10;
};
template <class T> using V = typename Vectors<T>::Values;
template <class T> using I = typename Vectors<T>::Integers;
template <class T> constexpr long LANES = VECTOR_BYTES / sizeof(T);
template <class T> constexpr long PANEL = 2 * LANES<T>;  // columns of a tile

template <class T> V<T> everywhere(T value) { return V<T>{} + value; }
template <class T> I<T> everywhere_index(long index) {
  return I<T>{} + static_cast<typename Vectors<T>::Integer>(index);
}

long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

#if defined(__AVX512F__)
V<float> load_masked(const float *p, unsigned mask) { return _mm512_maskz_loadu_ps(mask, p); }
V<double> load_masked(const double *p, unsigned mask) { return _mm512_maskz_loadu_pd(mask, p); }
void store_masked(float *p, V<float> v, unsigned mask) { _mm512_mask_storeu_ps(p, mask, v); }
void store_masked(double *p, V<double> v, unsigned mask) { _mm512_mask_storeu_pd(p, mask, v); }
#endif

template <class T> V<T> &vector_at(T *p) { return *reinterpret_cast<V<T> *>(p); }
template <class T> const V<T> &vector_at(const T *p) { return *reinterpret_cast<const V<T> *>(p); }

// As many lanes as are valid, zeros behind them; what does not exist is neither read nor written.
template <class T> V<T> load(const T *p, long valid) {
  if (valid >= LANES<T>) return vector_at(p);
  V<T> v{};
#if defined(__AVX512F__)
  if (valid > 0) v = load_masked(p, (1u << valid) - 1);
#else
  for (long lane = 0; lane < valid; lane++) v[lane] = p[lane];
#endif
  return v;
}

template <class T> void store(T *p, V<T> v, long valid) {
  if (valid >= LANES<T>) {
    vector_at(p) = v;
    return;
  }
#if defined(__AVX512F__)
  if (valid > 0) store_masked(p, v, (1u << valid) - 1);
#else
  for (long lane = 0; lane < valid; lane++) p[lane] = v[lane];
#endif
}

// The sum of a vector's lanes, of halves of it, of halves of these and so on.
template <class T, long LANES_LEFT = LANES<T>> T sum_of(const void *lanes) {
  if constexpr (LANES_LEFT == 1) {
    return *static_cast<const T *>(lanes);
  } else {
    typedef T Half __attribute__((vector_size(LANES_LEFT / 2 * sizeof(T))));
    Half low, high;
    std::memcpy(&low, lanes, sizeof low);
    std::memcpy(&high, static_cast<const char *>(lanes) + sizeof low, sizeof high);
    low += high;
    return sum_of<T, LANES_LEFT / 2>(&low);
  }
}

// Ask for a cache line that will be needed: to wait for it takes longer than the work until then.
template <class T> void fetch(const T *p, bool to_write) {
  if (to_write)
    __builtin_prefetch(p, 1);
  else
    __builtin_prefetch(p, 0);
}

// `value` where `sign` is positive, else 0.
template <class T> auto positive(T sign, T value) { return sign <= 0 ? T{} : value; }

template <class T> void fill_zero(T *p, long count) { std::memset(p, 0, count * sizeof(T)); }

struct Free {
  void operator()(void *p) const { std::free(p); }
};

// Uninitialised memory that begins at a cache line.
template <class T> struct Buffer {
  std::unique_ptr<T[], Free> memory;
  explicit Buffer(long count)
      : memory(static_cast<T *>(std::aligned_alloc(64, round_up(count * sizeof(T) + 64, 64)))) {
    if (memory == nullptr) std::abort();
  }
  T *get() const { return memory.get(); }
  operator T *() const { return memory.get(); }
};

}  // namespace
