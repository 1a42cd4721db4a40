// Chains of linear layers, forwards and back.
#pragma once

#include <utility>

#include "products.h"

namespace {

constexpr long CHAIN_ROWS = 192;  // go through all layers while they are in the cache; a multiple of TILE_ROWS

// Layers l = 1..L of each member, h_l = ReLU(W_l h_(l-1) + b_l), the last without the ReLU unless `relu_last`. What
// goes in is h_0 = x, times a vector of the row's task if there is a `scale`, then its ReLU if `relu_first`. Blocks of
// rows go through all layers while they are in the cache.
template <class T> struct Chain {
  long ensemble, rows, tasks, layers, x_member;  // x_member is 0 where members share their input
  bool relu_first, relu_last;
  const long *widths;                      // of h_0, ..., h_L
  const T *const *weight, *const *bias;    // of each layer, [member, outputs, inputs] and [member, outputs]
  const T *scale;                          // [member, task, inputs] or null; row r belongs to task r % tasks

  long wide(long l) const { return round_up(widths[l], PANEL<T>); }
  long blocks() const { return (rows + CHAIN_ROWS - 1) / CHAIN_ROWS; }
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
      const long first = b % blocks() * CHAIN_ROWS;
      work(b / blocks(), first, rows - first < CHAIN_ROWS ? rows - first : CHAIN_ROWS);
    }
  }

  void enter(long e, long row, long size, const T *x, T *h) const {
    const long inputs = widths[0];
    for (long r = 0; r < size; r++) {
      const T *from = x + e * x_member + (row + r) * inputs;
      const T *factor = scale ? scale + (e * tasks + (row + r) % tasks) * inputs : nullptr;
      for (long d = 0; d < wide(0); d += LANES<T>) {
        V<T> value = load(from + d, inputs - d);
        if (factor) value *= load(factor + d, inputs - d);
        vector_at(h + r * wide(0) + d) = relu_first ? (value < 0 ? V<T>{} : value) : value;
      }
    }
  }

  // `keep` is null where no way back will come.
  void forward(const T *x, T *y, T *keep, int threads) const {
    const auto size_of = [this](long l) { return ensemble * widths[l - 1] * wide(l); };
    const Buffer<T> matrices(place(layers + 1, size_of));
    for (long l = 1; l <= layers; l++)
      for (long e = 0; e < ensemble; e++)
        pack(widths[l - 1], widths[l], weight[l - 1] + e * widths[l] * widths[l - 1], 1L, widths[l - 1],
             matrices + place(l, size_of) + e * widths[l - 1] * wide(l));
    in_threads(threads_of(threads), ensemble * blocks(), 1, [&](long begin, long end) {
      const long most = widest();
      const Buffer<T> entered(CHAIN_ROWS * wide(0)), passing(keep ? 0 : 2 * CHAIN_ROWS * most);
      const Buffer<T> offset(most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        enter(e, row, size, x, entered);
        const T *from = entered;
        for (long l = 1; l <= layers; l++) {
          const bool last = l == layers;
          T *to = last   ? y + (e * rows + row) * widths[l]
                  : keep ? keep + hidden_at(l) + (e * rows + row) * wide(l)
                         : passing + l % 2 * CHAIN_ROWS * most;
          for (long d = 0; d < wide(l); d += LANES<T>)
            vector_at(offset + d) = load(bias[l - 1] + e * widths[l] + d, widths[l] - d);
          const T *matrix = matrices + place(l, size_of) + e * widths[l - 1] * wide(l);
          multiply<T>(size, last ? widths[l] : wide(l), widths[l - 1], from, wide(l - 1), 1,
                      {matrix, PANEL<T>, PANEL<T> * widths[l - 1]}, offset, 0, to, last ? widths[l] : wide(l),
                      !last || relu_last);
          from = to;
        }
      });
    });
  }

  // Gradients of the input [member, row, ...], of the scale and of the parameters of all layers; what is not wanted is
  // null. Members that share their input sum its gradient.
  void backward(const T *x, const T *y, const T *keep, const T *grad_y, T *grad_x, T *grad_scale,
                T *const *grad_weight, T *const *grad_bias, int threads) const {
    const bool of_input = grad_x || grad_scale;
    const auto size_of = [this](long l) { return ensemble * widths[l] * wide(l - 1); };
    const Buffer<T> matrices(place(layers + 1, size_of));
    for (long l = of_input ? 1 : 2; l <= layers; l++)
      for (long e = 0; e < ensemble; e++)
        pack(widths[l], widths[l - 1], weight[l - 1] + e * widths[l] * widths[l - 1], widths[l - 1], 1L,
             matrices + place(l, size_of) + e * widths[l] * wide(l - 1));
    // each thread sums gradients of its own: of matrices and biases, layer by layer, then of the scale
    const auto sum_size = [this](long l) { return ensemble * (widths[l] * wide(l - 1) + wide(l)); };
    const long of_scale = grad_weight ? place(layers + 1, sum_size) : 0;
    const long sums = of_scale + (grad_scale ? ensemble * tasks * wide(0) : 0);
    const long parts = threads_of(threads), all_blocks = ensemble * blocks();
    const long step = all_blocks ? (all_blocks + parts - 1) / parts : 1;
    const Buffer<T> sum_of_parts(parts * sums);
    fill_zero(sum_of_parts.get(), parts * sums);
    const bool shared = grad_x && ensemble > 1 && !x_member;
    const Buffer<T> of_members(shared ? ensemble * rows * widths[0] : 0);
    in_threads(parts, all_blocks, step, [&](long begin, long end) {
      T *const sum = sum_of_parts + begin / step * sums;
      const long most = widest();
      const Buffer<T> entered(CHAIN_ROWS * wide(0)), gradients(2 * CHAIN_ROWS * most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        T *g = gradients, *next = gradients + CHAIN_ROWS * most;
        for (long r = 0; r < size; r++)
          for (long d = 0; d < wide(layers); d += LANES<T>) {
            const long at = (e * rows + row + r) * widths[layers] + d, valid = widths[layers] - d;
            const V<T> given = load(grad_y + at, valid);
            vector_at(g + r * wide(layers) + d) = relu_last ? (load(y + at, valid) <= 0 ? V<T>{} : given) : given;
          }
        enter(e, row, size, x, entered);
        for (long l = layers; l > 0; l--) {
          const T *from = l == 1 ? entered.get() : keep + hidden_at(l - 1) + (e * rows + row) * wide(l - 1);
          if (grad_weight) {
            T *matrix = sum + place(l, sum_size) + e * (widths[l] * wide(l - 1) + wide(l));
            T *offset = matrix + widths[l] * wide(l - 1);
            multiply<T>(widths[l], wide(l - 1), size, g, 1, wide(l), {from, wide(l - 1), PANEL<T>}, matrix, wide(l - 1),
                        matrix, wide(l - 1));
            add_rows(size, wide(l), g, offset);
          }
          if (l == 1 && !of_input) break;
          const T *matrix = matrices + place(l, size_of) + e * widths[l] * wide(l - 1);
          multiply<T>(size, wide(l - 1), widths[l], g, wide(l), 1, {matrix, PANEL<T>, PANEL<T> * widths[l]},
                      static_cast<const T *>(nullptr), 0, next, wide(l - 1));
          if (l > 1 || relu_first)
            for (long i = 0; i < size * wide(l - 1); i += LANES<T>)
              vector_at(next + i) = vector_at(from + i) <= 0 ? V<T>{} : vector_at(next + i);
          std::swap(g, next);
        }
        if (!of_input) return;
        T *of_member = shared ? of_members + e * rows * widths[0] : grad_x ? grad_x + e * x_member : nullptr;
        leave(e, row, size, x, g, of_member, grad_scale ? sum + of_scale : nullptr);
      });
    });
    for (long l = 1; grad_weight && l <= layers; l++)
      for (long e = 0; e < ensemble; e++) {
        const T *from = sum_of_parts + place(l, sum_size) + e * (widths[l] * wide(l - 1) + wide(l));
        const long matrix = widths[l] * widths[l - 1];
        add_parts(parts, sums, widths[l], widths[l - 1], from, wide(l - 1), grad_weight[l - 1] + e * matrix);
        add_parts(parts, sums, 1, widths[l], from + widths[l] * wide(l - 1), wide(l), grad_bias[l - 1] + e * widths[l]);
      }
    if (grad_scale) add_parts(parts, sums, ensemble * tasks, widths[0], sum_of_parts + of_scale, wide(0), grad_scale);
    const long one = rows * widths[0];
    if (shared) add_parts(ensemble, one, 1, one, of_members.get(), one, grad_x);
  }

  // From the gradient of h_0, its ReLU undone, to those of x and of the scale.
  void leave(long e, long row, long size, const T *x, const T *g, T *grad_x, T *grad_scale) const {
    const long inputs = widths[0];
    for (long r = 0; r < size; r++) {
      const long task = e * tasks + (row + r) % tasks;
      for (long d = 0; d < wide(0); d += LANES<T>) {
        V<T> sent = vector_at(g + r * wide(0) + d);
        const long valid = inputs - d;
        if (grad_scale)
          vector_at(grad_scale + task * wide(0) + d) += sent * load(x + e * x_member + (row + r) * inputs + d, valid);
        if (scale) sent *= load(scale + task * inputs + d, valid);
        if (grad_x) store(grad_x + (row + r) * inputs + d, sent, valid);
      }
    }
  }
};

}  // namespace
