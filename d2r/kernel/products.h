// Matrix products, in tiles that stay in registers.
#pragma once

#include <type_traits>

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
    for (int v = 0; v < VECTORS; v++) right[v] = vector_at(b + v * LANES<T>);
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

// Copy B [depth, columns], B(k, n) at b[k * row + n * column], into panels filled up with zeros.
template <class T> Panels<T> pack(long depth, long columns, const T *b, long row, long column, T *panels) {
  for (long n = 0; n < columns; n += PANEL<T>) {
    T *panel = panels + n * depth;
    const long valid = columns - n < PANEL<T> ? columns - n : PANEL<T>;
    if (column == 1) {
      for (long k = 0; k < depth; k++) {
        store(panel + k * PANEL<T>, load(b + k * row + n, valid), LANES<T>);
        store(panel + k * PANEL<T> + LANES<T>, load(b + k * row + n + LANES<T>, valid - LANES<T>), LANES<T>);
      }
      continue;
    }
    for (long i = 0; i < PANEL<T>; i++)
      for (long k = 0; k < depth; k++) panel[k * PANEL<T> + i] = i < valid ? b[k * row + (n + i) * column] : 0;
  }
  return {panels, PANEL<T>, PANEL<T> * depth};
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
