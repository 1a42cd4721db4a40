// Matrix products, in tiles that stay in registers.
#pragma once

#include <type_traits>

#include "threads.h"
#include "vectors.h"

namespace {

// Where the sum of a product begins: row m at at[m % period * row], and TILE_ROWS more rows lie behind the last.
template <class T> struct Start {
  const T *at = nullptr;  // null: it begins at 0
  long row = 0, period = 1;
  const T *of(long m, long n) const { return at ? at + m % period * row + n : nullptr; }
};

// What becomes of a product's sums: ReLU; and 0 where `open`, laid out as C, is not positive, unless it is null.
template <class T> struct Finish {
  bool relu = false;
  const T *open = nullptr;
};

constexpr long FETCHED_AHEAD = 8;  // rows of the right factor

// M rows and VECTORS vectors of columns, at most a panel, of C = start + A B. A(m, k) lies at a[m * a_row + k * a_step],
// rows of B are b_row apart; `valid` columns of start and C exist, all if WHOLE.
template <class T, int M, int VECTORS, bool WHOLE>
void tile(long depth, const T *a, long a_row, long a_step, const T *b, long b_row, const T *start, long start_row, T *c,
          long c_row, long valid, Finish<T> finish) {
  V<T> sum[M][VECTORS];
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
    fetch(c + m * c_row, true);
    fetch(c + m * c_row + VECTORS * LANES<T> - 1, true);
    if (!finish.open) continue;
    fetch(finish.open + m * c_row, false);
    fetch(finish.open + m * c_row + VECTORS * LANES<T> - 1, false);
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; m++)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      const T *from = start + m * start_row + v * LANES<T>;
      sum[m][v] = !start ? V<T>{} : WHOLE ? vector_at(from) : load(from, valid - v * LANES<T>);
    }
  // rows by threes: an address has room for a base, and for once or twice a distance
  const T *rows[(M + 2) / 3];
#pragma GCC unroll 16
  for (int i = 0; i < (M + 2) / 3; i++) rows[i] = a + 3 * i * a_row;
  for (long k = 0; k < depth; k++) {
    V<T> right[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      right[v] = vector_at(b + v * LANES<T>);
      fetch(b + FETCHED_AHEAD * b_row + v * LANES<T>, false);
    }
    if (a_step != 1) {  // rows of A lie side by side, and the processor does not guess where it goes on
      fetch(rows[0] + FETCHED_AHEAD * a_step, false);
      fetch(rows[0] + FETCHED_AHEAD * a_step + M - 1, false);
    }
    b += b_row;
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      const T left = rows[m / 3][m % 3 * a_row];
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) sum[m][v] += left * right[v];
    }
#pragma GCC unroll 16
    for (int i = 0; i < (M + 2) / 3; i++) rows[i] += a_step;
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; m++)
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      const long at = m * c_row + v * LANES<T>, left = valid - v * LANES<T>;
      V<T> value = finish.relu ? positive(sum[m][v], sum[m][v]) : sum[m][v];
      if (finish.open) value = positive(WHOLE ? vector_at(finish.open + at) : load(finish.open + at, left), value);
      if (WHOLE)
        vector_at(c + at) = value;
      else
        store(c + at, value, left);
    }
}

// The right factor of a product, cut into panels of PANEL columns.
template <class T> struct Panels {
  const T *at;
  long row, panel;  // distance of a panel's rows, and of panels
};

// C [rows, columns] = start + A B; see `tile`.
template <class T>
void multiply(long rows, long columns, long depth, const T *a, long a_row, long a_step, Panels<T> b, Start<T> start,
              T *c, long c_row, Finish<T> finish = {}) {
  for (long n = 0; n < columns; n += PANEL<T>) {
    const T *panel = b.at + n / PANEL<T> * b.panel;
    long m = 0;
    const auto next = [&](auto height) {
      constexpr int M = decltype(height)::value;
      const long at = m * c_row + n;
      const auto of = columns - n <= LANES<T>  ? tile<T, M, 1, false>
                      : columns - n < PANEL<T> ? tile<T, M, 2, false>
                                               : tile<T, M, 2, true>;
      of(depth, a + m * a_row, a_row, a_step, panel, b.row, start.of(m, n), start.row, c + at, c_row, columns - n,
         {finish.relu, finish.open ? finish.open + at : nullptr});
      m += M;
    };
    while (m + TILE_ROWS <= rows) next(std::integral_constant<int, TILE_ROWS>());
    if (m + 8 <= rows && TILE_ROWS > 8) next(std::integral_constant<int, 8>());
    if (m + 4 <= rows) next(std::integral_constant<int, 4>());
    if (m + 2 <= rows) next(std::integral_constant<int, 2>());
    if (m + 1 <= rows) next(std::integral_constant<int, 1>());
  }
}

// Lanes of two vectors in turns of STEP: what the first step of a transposition by halves does, and each after it.
template <class T, long STEP, bool HIGH, size_t... J> V<T> in_turns(V<T> a, V<T> b, std::index_sequence<J...>) {
  constexpr auto from = [](long j) {
    return HIGH ? (j & STEP ? LANES<T> + j : j + STEP) : (j & STEP ? LANES<T> + j - STEP : j);
  };
#if defined(__clang__)
  return __builtin_shufflevector(a, b, from(J)...);
#else
  return __builtin_shuffle(a, b, I<T>{static_cast<typename Vectors<T>::Integer>(from(J))...});
#endif
}

// Transpose as many vectors as one has lanes (Eklundh, IEEE Transactions on Computers C-21, 1972).
template <class T, long STEP = 1> void transpose(V<T> *v) {
  if constexpr (STEP < LANES<T>) {
    constexpr std::make_index_sequence<LANES<T>> lanes;
#pragma GCC unroll 16
    for (long i = 0; i < LANES<T>; i++) {
      if (i & STEP) continue;
      const V<T> a = v[i], b = v[i + STEP];
      v[i] = in_turns<T, STEP, false>(a, b, lanes);
      v[i + STEP] = in_turns<T, STEP, true>(a, b, lanes);
    }
    transpose<T, 2 * STEP>(v);
  }
}

// Copy a panel of B [depth, columns], filled up with zeros. B(k, n) lies at b[k * row + n], or `across` at b[k + n * row].
template <class T> void pack_panel(long depth, long columns, const T *b, long row, bool across, T *panel) {
  for (long n = 0; n < PANEL<T>; n += LANES<T>) {
    for (long k = 0; !across && k < depth; k++)
      vector_at(panel + k * PANEL<T> + n) = load(b + k * row + n, columns - n);
    for (long k = 0; across && k < depth; k += LANES<T>) {
      V<T> block[LANES<T>];
#pragma GCC unroll 16
      for (long i = 0; i < LANES<T>; i++) block[i] = n + i < columns ? load(b + (n + i) * row + k, depth - k) : V<T>{};
      transpose<T>(block);
#pragma GCC unroll 16
      for (long i = 0; i < LANES<T>; i++)
        if (k + i < depth) vector_at(panel + (k + i) * PANEL<T> + n) = block[i];
    }
  }
}

// Copy all of B, panel after panel.
template <class T> void pack(long depth, long columns, const T *b, long row, bool across, T *panels) {
  for (long n = 0; n < columns; n += PANEL<T>)
    pack_panel<T>(depth, columns - n, b + (across ? n * row : n), row, across, panels + n * depth);
}

// Add every `step`th row of from [rows, columns], whole vectors, to `sum`.
template <class T> void add_rows(long rows, long step, long columns, const T *from, T *sum) {
  for (long d = 0; d < columns; d += LANES<T>) {
    V<T> total = vector_at(sum + d);
    for (long r = 0; r < rows; r += step) total += vector_at(from + r * columns + d);
    vector_at(sum + d) = total;
  }
}

// to [rows, columns], rows `to_row` apart, = the sum of `parts` arrays that lie `apart`, whose rows are `row` apart.
template <class T>
void add_parts(long parts, long apart, long rows, long columns, const T *from, long row, T *to, long to_row) {
  for (long r = 0; r < rows; r++)
    for (long d = 0; d < columns; d += LANES<T>) {
      V<T> total{};
      for (long part = 0; part < parts; part++) total += load(from + part * apart + r * row + d, columns - d);
      store(to + r * to_row + d, total, columns - d);
    }
}

}  // namespace
