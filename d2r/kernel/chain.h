// Chains of linear layers, forwards and back.
#pragma once

#include <utility>

#include "products.h"

namespace {

constexpr long CHAIN_ROWS = 192;  // at most so many go through all layers while they are in the cache

// Layers l = 1..L of each member, h_l = ReLU(W_l h_(l-1) + b_l), the last without the ReLU unless `relu_last`. What
// goes in is h_0 = x, times a vector of the row's task if there is a `scale`, then its ReLU if `relu_first`. With
// `one_hot` the first layer sees the task beside its input: W_1 has a column more for each. Blocks of rows go through
// all layers while they are in the cache.
template <class T> struct Chain {
  long ensemble, rows, tasks, layers, x_member;  // x_member is 0 where members share their input
  bool relu_first, relu_last, one_hot;
  const long *widths;                      // of h_0, ..., h_L
  const T *const *weight, *const *bias;    // of each layer, [member, outputs, inputs] and [member, outputs]
  const T *scale;                          // [member, task, inputs] or null; row r belongs to task r % tasks

  long wide(long l) const { return round_up(widths[l], PANEL<T>); }
  // Blocks of rows are equal, and if there are several then as many as two and four threads can share.
  long block_rows() const {
    const long least = (rows + CHAIN_ROWS - 1) / CHAIN_ROWS, blocks = least > 1 ? round_up(least, 4) : 1;
    return round_up((rows + blocks - 1) / blocks, 4);
  }
  long blocks() const { return rows ? (rows + block_rows() - 1) / block_rows() : 0; }
  long widest() const {
    long most = 0;
    for (long l = 0; l <= layers; l++) most = wide(l) > most ? wide(l) : most;
    return most;
  }
  // Layer l's place in an array that holds of_layer(1), of_layer(2), ...
  template <class Size> static long place(long l, const Size &of_layer) {
    long before = 0;
    for (long i = 1; i < l; i++) before += of_layer(i);
    return before;
  }
  // h_1, ..., h_(L-1), each [member, row, wide], are kept for the way back.
  long hidden_at(long l) const {
    return place(l, [this](long i) { return ensemble * rows * wide(i); });
  }
  long kept() const { return hidden_at(layers); }
  int threads_of(int threads) const {
    double multiply_adds = 0;
    for (long l = 1; l <= layers; l++) multiply_adds += double(ensemble) * rows * widths[l] * widths[l - 1];
    return threads_worth(threads, multiply_adds);
  }
  template <class Work> void in_blocks(long begin, long end, const Work &work) const {
    for (long b = begin; b < end; b++) {
      const long first = b % blocks() * block_rows();
      work(b / blocks(), first, rows - first < block_rows() ? rows - first : block_rows());
    }
  }

  bool of_tasks(long l) const { return one_hot && l == 1; }
  // Distance of the rows of W_l.
  long columns(long l) const { return widths[l - 1] + (of_tasks(l) ? tasks : 0); }
  const T *matrix(long l, long e) const { return weight[l - 1] + e * widths[l] * columns(l); }

  // Whether x is h_0 as it lies there; the way back needs whole panels, too.
  bool is_first() const { return !scale && !relu_first; }
  bool is_first_in_panels() const { return is_first() && widths[0] == wide(0); }

  // h_0 of a block of rows, in `h` unless it is there already.
  const T *enter(long e, long row, long size, const T *x, bool there, T *h) const {
    const long inputs = widths[0], padded = wide(0);
    const T *from = x + e * x_member + row * inputs;
    if (there) return from;
    for (long r = 0; r < size; r++, from += inputs) {
      const T *factor = scale ? scale + (e * tasks + (row + r) % tasks) * inputs : nullptr;
      for (long d = 0; d < padded; d += LANES<T>) {
        V<T> value = load(from + d, inputs - d);
        if (factor) value *= load(factor + d, inputs - d);
        vector_at(h + r * padded + d) = relu_first ? positive(value, value) : value;
      }
    }
    return h;
  }

  // Panels of the matrices of all members from a layer on: of the way forwards, or of the way back.
  long panels_in(long l, bool forwards) const { return wide(forwards ? l : l - 1) / PANEL<T>; }
  long panels_of_all(long from, bool forwards) const {
    long all = 0;
    for (long l = from; l <= layers; l++) all += ensemble * panels_in(l, forwards);
    return all;
  }
  // Calls work(layer, member, first column) for those between two.
  template <class Work> void each_panel(long from, bool forwards, long begin, long end, const Work &work) const {
    for (long l = from, i = 0; l <= layers; l++)
      for (long e = 0; e < ensemble; e++)
        for (long n = 0; n < panels_in(l, forwards); n++, i++)
          if (begin <= i && i < end) work(l, e, n * PANEL<T>);
  }

  // What the sums of layer l begin with: its bias, and of the first layer the columns of the tasks. Those of task t are
  // in rows t and t + tasks, so that any row of a block can be the first, and in all that a tile reads beyond.
  long offset_rows(long l) const { return of_tasks(l) ? 2 * tasks + TILE_ROWS : 1; }
  void set_offsets(long l, long e, T *offsets) const {
    const long outputs = widths[l], padded = wide(l);
    for (long t = 0; t < (of_tasks(l) ? tasks : 1); t++)
      for (long d = 0; d < padded; d++) {
        T sum = d < outputs ? bias[l - 1][e * outputs + d] : 0;
        if (d < outputs && of_tasks(l)) sum += matrix(l, e)[d * columns(l) + widths[0] + t];
        offsets[t * padded + d] = sum;
      }
    for (long i = tasks; i < offset_rows(l); i++)
      std::memcpy(offsets + i * padded, offsets + (i - tasks) * padded, padded * sizeof(T));
  }
  Start<T> start_of(long l, long row, const T *offsets) const {
    if (of_tasks(l)) return {offsets + row % tasks * wide(l), wide(l), tasks};
    return {offsets};
  }

  // `keep` is null where no way back will come.
  void forward(const T *x, T *y, T *keep, int threads) const {
    const auto of_matrix = [this](long l) { return ensemble * widths[l - 1] * wide(l); };
    const auto of_offsets = [this](long l) { return ensemble * offset_rows(l) * wide(l); };
    const Buffer<T> matrices(place(layers + 1, of_matrix)), offsets(place(layers + 1, of_offsets));
    const auto matrix_at = [&](long l, long e) { return matrices + place(l, of_matrix) + e * widths[l - 1] * wide(l); };
    const auto offsets_at = [&](long l, long e) {
      return offsets + place(l, of_offsets) + e * offset_rows(l) * wide(l);
    };
    in_threads(threads_of(threads), panels_of_all(1, true), 1, [&](long begin, long end) {
      each_panel(1, true, begin, end, [&](long l, long e, long n) {
        pack_panel<T>(widths[l - 1], widths[l] - n, matrix(l, e) + n * columns(l), columns(l), true,
                      matrix_at(l, e) + n * widths[l - 1]);
        if (n == 0) set_offsets(l, e, offsets_at(l, e));
      });
    });
    in_threads(threads_of(threads), ensemble * blocks(), 1, [&](long begin, long end) {
      const long most = widest();
      const Buffer<T> entered(is_first() ? 0 : block_rows() * wide(0)), passing(keep ? 0 : 2 * block_rows() * most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        const T *from = enter(e, row, size, x, is_first(), entered);
        long from_row = is_first() ? widths[0] : wide(0);
        for (long l = 1; l <= layers; l++) {
          const bool last = l == layers;
          T *to = last   ? y + (e * rows + row) * widths[l]
                  : keep ? keep + hidden_at(l) + (e * rows + row) * wide(l)
                         : passing + l % 2 * block_rows() * most;
          multiply<T>(size, last ? widths[l] : wide(l), widths[l - 1], from, from_row, 1,
                      {matrix_at(l, e), PANEL<T>, PANEL<T> * widths[l - 1]}, start_of(l, row, offsets_at(l, e)), to,
                      last ? widths[l] : wide(l), {!last || relu_last});
          from = to, from_row = wide(l);
        }
      });
    });
  }

  // Gradients of the input [member, row, ...], of the scale and of the parameters of all layers; what is not wanted is
  // null. Members that share their input sum its gradient, others may `add` it to what is there.
  void backward(const T *x, const T *y, const T *keep, const T *grad_y, T *grad_x, bool add, T *grad_scale,
                T *const *grad_weight, T *const *grad_bias, int threads) const {
    const bool of_input = grad_x || grad_scale;
    const auto of_matrix = [this](long l) { return ensemble * widths[l] * wide(l - 1); };
    const Buffer<T> matrices(place(layers + 1, of_matrix));
    const auto matrix_at = [&](long l, long e) { return matrices + place(l, of_matrix) + e * widths[l] * wide(l - 1); };
    const long lowest = of_input ? 1 : 2;
    in_threads(threads_of(threads), panels_of_all(lowest, false), 1, [&](long begin, long end) {
      each_panel(lowest, false, begin, end, [&](long l, long e, long n) {
        pack_panel<T>(widths[l], widths[l - 1] - n, matrix(l, e) + n, columns(l), false,
                      matrix_at(l, e) + n * widths[l]);
      });
    });
    // each thread sums gradients of its own: layer by layer of matrices and biases, these by task where it has columns,
    // then of the scale
    const auto biases = [this](long l) { return of_tasks(l) ? tasks : 1; };
    const auto sum_of_member = [&](long l) { return widths[l] * wide(l - 1) + biases(l) * wide(l); };
    const auto sum_of = [&](long l) { return ensemble * sum_of_member(l); };
    const long of_scale = grad_weight ? place(layers + 1, sum_of) : 0;
    const long sums = of_scale + (grad_scale ? ensemble * tasks * wide(0) : 0);
    const Parts parts(threads_of(threads), ensemble * blocks(), 1);
    const Buffer<T> sum_of_parts(parts.number * sums);
    const bool shared = grad_x && ensemble > 1 && !x_member;
    const bool leaves_as_it_is = is_first_in_panels() && !grad_scale && !add;
    const Buffer<T> of_members(shared ? ensemble * rows * widths[0] : 0);
    parts.each([&](long begin, long end) {
      T *const sum = sum_of_parts + begin / parts.step * sums;
      fill_zero(sum, sums);
      const long most = widest();
      const Buffer<T> entered(is_first_in_panels() ? 0 : block_rows() * wide(0)), gradients(2 * block_rows() * most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        T *g = gradients, *next = gradients + block_rows() * most;
        begin_gradient(e, row, size, y, grad_y, g);
        const T *h_0 = enter(e, row, size, x, is_first_in_panels(), entered);
        T *of_member = shared ? of_members + e * rows * widths[0] : grad_x ? grad_x + e * x_member : nullptr;
        for (long l = layers; l > 0; l--) {
          const long in = wide(l - 1), out = wide(l);
          const T *from = l == 1 ? h_0 : keep + hidden_at(l - 1) + (e * rows + row) * in;
          if (grad_weight) {
            T *matrix = sum + place(l, sum_of) + e * sum_of_member(l), *offsets = matrix + widths[l] * in;
            multiply<T>(widths[l], in, size, g, 1, out, {from, in, PANEL<T>}, {matrix, in, widths[l]}, matrix, in);
            for (long t = 0; t < biases(l); t++) {
              const long first = (t + biases(l) - row % biases(l)) % biases(l);
              add_rows(size - first, biases(l), out, g + first * out, offsets + t * out);
            }
          }
          if (l == 1 && !of_input) break;
          T *to = l == 1 && leaves_as_it_is ? of_member + row * in : next;
          multiply<T>(size, in, widths[l], g, out, 1, {matrix_at(l, e), PANEL<T>, PANEL<T> * widths[l]}, {}, to, in,
                      {false, l > 1 || relu_first ? from : nullptr});
          std::swap(g, next);
        }
        if (of_input && !leaves_as_it_is) leave(e, row, size, x, g, of_member, add, grad_scale ? sum + of_scale : nullptr);
      });
    });
    in_threads(threads_of(threads), grad_weight ? layers * ensemble : 0, 1, [&](long begin, long end) {
      for (long i = begin; i < end; i++) {
        const long l = i / ensemble + 1, e = i % ensemble;
        const T *from = sum_of_parts + place(l, sum_of) + e * sum_of_member(l), *offsets = from + widths[l] * wide(l - 1);
        T *to = grad_weight[l - 1] + e * widths[l] * columns(l), *of_bias = grad_bias[l - 1] + e * widths[l];
        add_parts(parts.number, sums, widths[l], widths[l - 1], from, wide(l - 1), to, columns(l));
        if (of_tasks(l))
          for (long t = 0; t < tasks; t++)
            for (long d = 0; d < widths[l]; d++) {
              T total = 0;
              for (long part = 0; part < parts.number; part++) total += offsets[part * sums + t * wide(l) + d];
              to[d * columns(l) + widths[0] + t] = total;
              of_bias[d] = t ? of_bias[d] + total : total;
            }
        else
          add_parts(parts.number, sums, 1, widths[l], offsets, wide(l), of_bias, widths[l]);
      }
    });
    if (grad_scale)
      add_parts(parts.number, sums, ensemble * tasks, widths[0], sum_of_parts + of_scale, wide(0), grad_scale, widths[0]);
    const long one = rows * widths[0];
    if (shared) add_parts(ensemble, one, 1, one, of_members.get(), one, grad_x, one);
  }

  // The gradient of the last layer before its ReLU, if it has one.
  void begin_gradient(long e, long row, long size, const T *y, const T *grad_y, T *g) const {
    const long outputs = widths[layers], padded = wide(layers);
    for (long r = 0; r < size; r++)
      for (long d = 0; d < padded; d += LANES<T>) {
        const long at = (e * rows + row + r) * outputs + d, valid = outputs - d;
        const V<T> given = load(grad_y + at, valid);
        vector_at(g + r * padded + d) = relu_last ? positive(load(y + at, valid), given) : given;
      }
  }

  // From the gradient of h_0, its ReLU undone, to those of x and of the scale.
  void leave(long e, long row, long size, const T *x, const T *g, T *grad_x, bool add, T *grad_scale) const {
    const long inputs = widths[0], padded = wide(0);
    for (long r = 0; r < size; r++) {
      const long task = e * tasks + (row + r) % tasks;
      for (long d = 0; d < padded; d += LANES<T>) {
        V<T> sent = vector_at(g + r * padded + d);
        const long valid = inputs - d;
        if (grad_scale)
          vector_at(grad_scale + task * padded + d) += sent * load(x + e * x_member + (row + r) * inputs + d, valid);
        if (scale) sent *= load(scale + task * inputs + d, valid);
        T *to = grad_x + (row + r) * inputs + d;
        if (grad_x) store(to, add ? load(to, valid) + sent : sent, valid);
      }
    }
  }
};

}  // namespace
