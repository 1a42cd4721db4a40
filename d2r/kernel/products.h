// Matrix products, in tiles that stay in registers.
#pragma once

#include <type_traits>

#include "vectors.h"

namespace {

// M rows and PANEL columns of C = start + A B, the ReLU of it if asked for. A(m, k) lies at a[m * a_row + k * a_step],
// rows of B are b_row apart; `valid` columns of start and C exist. Without `start` the sum begins at 0.
template <class T, int M>
void tile(long depth, const T *a, long a_row, long a_step, const T *b, long b_row, const T *start, long start_row, T *c,
          long c_row, long valid, bool relu) {
  V<T> sum[M][2];
  for (int m = 0; m < M; m++)
    for (int half = 0; half < 2; half++)
      sum[m][half] = start ? load(start + m * start_row + half * LANES<T>, valid - half * LANES<T>) : V<T>{};
  for (long k = 0; k < depth; k++) {
    const V<T> left = vector_at(b + k * b_row), right = vector_at(b + k * b_row + LANES<T>);
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      const T factor = a[m * a_row + k * a_step];
      sum[m][0] += factor * left;
      sum[m][1] += factor * right;
    }
  }
  for (int m = 0; m < M; m++)
    for (int half = 0; half < 2; half++) {
      const V<T> value = sum[m][half];
      store(c + m * c_row + half * LANES<T>, relu ? (value < 0 ? V<T>{} : value) : value, valid - half * LANES<T>);
    }
}

// The right factor of a product, cut into panels of PANEL columns.
template <class T> struct Panels {
  const T *at;
  long row, panel;  // distance of a panel's rows, and of panels
};

// C [rows, columns] = start + A B; see `tile`.
template <class T>
void multiply(long rows, long columns, long depth, const T *a, long a_row, long a_step, Panels<T> b, const T *start,
              long start_row, T *c, long c_row, bool relu = false) {
  for (long n = 0; n < columns; n += PANEL<T>) {
    const T *panel = b.at + n / PANEL<T> * b.panel;
    long m = 0;
    const auto next = [&](auto height) {
      constexpr int M = decltype(height)::value;
      tile<T, M>(depth, a + m * a_row, a_row, a_step, panel, b.row, start ? start + m * start_row + n : nullptr,
                 start_row, c + m * c_row + n, c_row, columns - n, relu);
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


// Add all rows of from [rows, columns], whole vectors, to `sum`.
template <class T> void add_rows(long rows, long columns, const T *from, T *sum) {
  for (long d = 0; d < columns; d += LANES<T>) {
    V<T> total = vector_at(sum + d);
    for (long r = 0; r < rows; r++) total += vector_at(from + r * columns + d);
    vector_at(sum + d) = total;
  }
}

// to [rows, columns] = the sum of `parts` arrays that lie `apart`, whose rows are `row` apart.
template <class T> void add_parts(long parts, long apart, long rows, long columns, const T *from, long row, T *to) {
  for (long r = 0; r < rows; r++)
    for (long d = 0; d < columns; d += LANES<T>) {
      V<T> total{};
      for (long part = 0; part < parts; part++) total += load(from + part * apart + r * row + d, columns - d);
      store(to + r * columns + d, total, columns - d);
    }
}

}  // namespace
