// D2R's modules 2..N and the output's mix, forwards and back; networks/d2r/stack.py holds the formulas and names.
#pragma once

#include "products.h"

namespace {

constexpr long BLOCK_ROWS = 48;  // go through all modules while they are in the cache; a multiple of TILE_ROWS

// Something that each chosen source of a row has, at [group, member, row, k].
template <class T> struct OfSources {
  const T *at;
  long group, member, row, k;
  T get(long g, long e, long r, long j) const { return at[g * group + e * member + r * row + j * k]; }
};

// The routes of a block of rows, at [group, row of the block, k].
template <class T> struct Routes {
  Buffer<long> from;      // where in a row's modules the source begins
  Buffer<T> share;        // its weight
  Buffer<uint8_t> open;   // whether it is suitable
  Routes(long count, long top_k)
      : from(count * BLOCK_ROWS * top_k), share(count * BLOCK_ROWS * top_k), open(count * BLOCK_ROWS * top_k) {}
};

// WIDE: the padded width of a module, K: sources of each, where the compiler is to know them; 0 where it is not.
template <class T, long WIDE, long K> struct Stack {
  long ensemble, rows, dim, count, sources_each;
  bool residual;
  const T *weight, *bias;           // [member, count - 1, dim, dim] and [member, count - 1, dim]
  long weight_member, bias_member;  // distance of members: there may be more modules than are in use
  OfSources<int64_t> sources;
  OfSources<T> weights;
  OfSources<uint8_t> suitable;      // at null: all are

  long width() const { return WIDE ? WIDE : round_up(dim, PANEL<T>); }
  long top_k() const { return K ? K : sources_each; }
  long blocks() const { return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS; }
  int threads_of(int threads) const { return threads_worth(threads, double(ensemble) * rows * count * dim * dim); }

  // Calls work(member, first row, number of rows) for every block between two.
  template <class Work> void in_blocks(long begin, long end, const Work &work) const {
    for (long b = begin; b < end; b++) {
      const long first = b % blocks() * BLOCK_ROWS;
      work(b / blocks(), first, rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS);
    }
  }

  // Panels of the matrix of each member and module: transposed for the way forwards, as it is for the way back.
  Buffer<T> all_panels(bool forwards, int threads) const {
    const long size = dim * width();
    Buffer<T> panels(ensemble * (count - 1) * size);
    in_threads(threads, ensemble * (count - 1), 1, [=, at = panels.get()](long begin, long end) {
      for (long i = begin; i < end; i++) {
        const T *matrix = weight + i / (count - 1) * weight_member + i % (count - 1) * dim * dim;
        pack<T>(dim, dim, matrix, dim, forwards, at + i * size);
      }
    });
    return panels;
  }
  Panels<T> panels_of(const T *panels, long e, long i) const {
    return {panels + (e * (count - 1) + i) * dim * width(), PANEL<T>, PANEL<T> * dim};
  }

  void gather(long e, long row, long size, const Routes<T> &routes) const {
    for (long g = 0; g < count; g++)
      for (long k = 0; k < top_k(); k++)
        for (long r = 0; r < size; r++) {
          const long at = (g * BLOCK_ROWS + r) * top_k() + k;
          routes.from[at] = sources.get(g, e, row + r, k) * width();
          routes.share[at] = weights.get(g, e, row + r, k);
          if (suitable.at) routes.open[at] = suitable.get(g, e, row + r, k);
        }
  }

  // x = what group g of each row reads: the mix of its sources among `modules` [row, count, width].
  void mix(long g, long size, const long *from, const T *share, const T *modules, T *x) const {
    const long wide = width(), step = count * wide, many = top_k();
    from += g * BLOCK_ROWS * many, share += g * BLOCK_ROWS * many;
    for (long r = 0; r < size; r++, from += many, share += many, modules += step, x += wide)
      for (long d = 0; d < wide; d += LANES<T>) {
        V<T> sum{};
        for (long k = 0; k < many; k++) sum += share[k] * vector_at(modules + from[k] + d);
        vector_at(x + d) = sum;
      }
  }

  // `own` [member, row, count - 1, width], what modules computed themselves, is kept for the way back, or null. With it
  // the way back finds all modules again by additions, which is faster than to write and read them.
  void forward(const T *first, T *out, T *own, int threads) const {
    const Buffer<T> panels = all_panels(true, threads_of(threads));
    in_threads(threads_of(threads), ensemble * blocks(), 1, [=, at = panels.get()](long begin, long end) {
      const long wide = width();
      const Buffer<T> modules(BLOCK_ROWS * count * wide), x(BLOCK_ROWS * wide), offset(wide);
      const Buffer<T> own_of_block(own ? 0 : BLOCK_ROWS * (count - 1) * wide);
      const Routes<T> routes(count, top_k());
      in_blocks(begin, end, [&](long e, long row, long size) {
        const long place = e * rows + row;
        gather(e, row, size, routes);
        forward_block(e, size, first + place * dim, out + place * dim, modules,
                      own ? own + place * (count - 1) * wide : own_of_block.get(), at, routes, x, offset);
      });
    });
  }

  void set_first(long size, const T *first, T *m) const {
    for (long r = 0; r < size; r++)
      for (long d = 0; d < width(); d += LANES<T>)
        vector_at(m + r * count * width() + d) = load(first + r * dim + d, dim - d);
  }

  // The output of the module that group g feeds: y, and x beside it if there is a shortcut.
  void set_module(long g, long size, const T *y, const T *x, T *m) const {
    const long wide = width();
    y += g * wide, m += (g + 1) * wide;
    for (long r = 0; r < size; r++, y += (count - 1) * wide, x += wide, m += count * wide)
      for (long d = 0; d < wide; d += LANES<T>)
        vector_at(m + d) = residual ? vector_at(y + d) + vector_at(x + d) : vector_at(y + d);
  }

  void forward_block(long e, long size, const T *first, T *out, T *m, T *y, const T *panels, const Routes<T> &routes,
                     T *x, T *offset) const {
    const long wide = width();
    set_first(size, first, m);
    for (long g = 0; g < count - 1; g++) {
      mix(g, size, routes.from, routes.share, m, x);
      const T *of_module = bias + e * bias_member + g * dim;
      for (long d = 0; d < wide; d += LANES<T>) vector_at(offset + d) = load(of_module + d, dim - d);
      multiply<T>(size, wide, dim, x, wide, 1, panels_of(panels, e, g), {offset}, y + g * wide, (count - 1) * wide,
                  {true});
      set_module(g, size, y, x, m);
    }
    mix(count - 1, size, routes.from, routes.share, m, x);
    for (long r = 0; r < size; r++)
      for (long d = 0; d < dim; d += LANES<T>) store(out + r * dim + d, vector_at(x + r * wide + d), dim - d);
  }

  // Gradients of everything; those of parameters [member, count - 1, ...] may be null. That of the weights is laid out
  // as [member, count, K, row].
  void backward(const T *first, const T *own, const T *grad_out, T *grad_first, T *grad_weights, T *grad_weight,
                T *grad_bias, int threads) const {
    const long wide = width(), matrices = ensemble * (count - 1);
    const Buffer<T> panels = all_panels(false, threads_of(threads));
    const Parts parts(threads_of(threads), ensemble * blocks(), 1);
    // each thread sums gradients of parameters of its own: of a matrix dim rows, and behind them one of the bias
    const long one = (dim + 1) * wide, sums = grad_weight ? matrices * one : 0;
    const Buffer<T> of_parts(parts.number * sums);
    parts.each([=, at = panels.get(), all_sums = of_parts.get()](long begin, long end) {
      const Scratch scratch(*this);
      T *const sum_of_part = all_sums + begin / parts.step * sums;
      fill_zero(sum_of_part, sums);
      in_blocks(begin, end, [&](long e, long row, long size) {
        const long place = e * rows + row;
        gather(e, row, size, scratch.routes);
        T *sum = grad_weight ? sum_of_part + e * (count - 1) * one : nullptr;
        T *of_weights = grad_weights + e * count * top_k() * rows + row;
        backward_block(e, size, first + place * dim, own + place * (count - 1) * wide, grad_out + place * dim,
                       grad_first + place * dim, of_weights, sum, at, scratch);
      });
    });
    in_threads(threads_of(threads), grad_weight ? matrices : 0, 1, [=, sum = of_parts.get()](long begin, long end) {
      for (long i = begin; i < end; i++) {
        add_parts(parts.number, sums, dim, dim, sum + i * one, wide, grad_weight + i * dim * dim, dim);
        add_parts(parts.number, sums, 1, dim, sum + i * one + dim * wide, wide, grad_bias + i * dim, dim);
      }
    });
  }

  // What the way back of a block needs room for. A and G are those of the formulas; where all is suitable they are one.
  struct Scratch {
    Routes<T> routes;
    Buffer<T> modules, a, g, x, through, into, nothing;
    explicit Scratch(const Stack &s)
        : routes(s.count, s.top_k()), modules(BLOCK_ROWS * s.count * s.width()), a(BLOCK_ROWS * s.count * s.width()),
          g(s.suitable.at ? BLOCK_ROWS * s.count * s.width() : 0), x(BLOCK_ROWS * s.width()),
          through(BLOCK_ROWS * s.width()), into(BLOCK_ROWS * s.width()), nothing(s.width()) {
      fill_zero(nothing.get(), s.width());
    }
  };

  void backward_block(long e, long size, const T *first, const T *y, const T *grad_out, T *grad_first, T *grad_weights,
                      T *sum, const T *panels, const Scratch &scratch) const {
    const long wide = width(), m_row = count * wide, y_row = (count - 1) * wide;
    T *const m = scratch.modules;
    T *const a = scratch.a, *const g = suitable.at ? scratch.g.get() : a;
    T *const through = scratch.through, *const into = scratch.into, *const x = scratch.x;
    set_first(size, first, m);
    for (long target = 0; target < count - 1; target++) {
      if (residual) mix(target, size, scratch.routes.from, scratch.routes.share, m, x);
      set_module(target, size, y, x, m);
    }
    fill_zero(a, size * m_row);
    if (g != a) fill_zero(g, size * m_row);
    for (long r = 0; r < size; r++)
      for (long d = 0; d < wide; d += LANES<T>) vector_at(into + r * wide + d) = load(grad_out + r * dim + d, dim - d);
    spread(count - 1, size, m, scratch.nothing, 0, a, g, scratch, grad_weights + (count - 1) * top_k() * rows);
    for (long target = count - 2; target >= 0; target--) {
      const long module = (target + 1) * wide;
      for (long r = 0; r < size; r++)
        for (long d = 0; d < wide; d += LANES<T>)
          vector_at(through + r * wide + d) =
              positive(vector_at(y + r * y_row + target * wide + d), vector_at(g + r * m_row + module + d));
      if (sum) {
        T *of_matrix = sum + target * (dim + 1) * wide, *of_bias = of_matrix + dim * wide;
        mix(target, size, scratch.routes.from, scratch.routes.share, m, x);
        multiply<T>(dim, wide, size, through, 1, wide, {x, wide, PANEL<T>}, {of_matrix, wide, dim}, of_matrix, wide);
        add_rows(size, 1, wide, through, of_bias);
      }
      multiply<T>(size, wide, dim, through, wide, 1, panels_of(panels, e, target),
                  {residual ? a + module : nullptr, m_row, size}, into, wide);
      spread(target, size, m, residual ? a + module : scratch.nothing.get(), residual ? m_row : 0, a, g, scratch,
             grad_weights + target * top_k() * rows);
    }
    for (long r = 0; r < size; r++)
      for (long d = 0; d < dim; d += LANES<T>) store(grad_first + r * dim + d, vector_at(g + r * m_row + d), dim - d);
  }

  // What the gradient of a target's input (T, in scratch.into) gives to its sources and to their weights; an unsuitable
  // source gets `instead`.
  void spread(long target, long size, const T *m, const T *instead, long instead_row, T *a, T *g,
              const Scratch &scratch, T *grad_weights) const {
    const long wide = width(), m_row = count * wide, many = top_k(), begin = target * BLOCK_ROWS * many;
    const long *from = scratch.routes.from + begin;
    const T *share = scratch.routes.share + begin, *into = scratch.into;
    const uint8_t *open = scratch.routes.open + begin;
    const bool restricted = g != a;
    for (long r = 0; r < size; r++) {
      for (long k = 0; k < many; k++) {
        const T p = share[k];
        const T *gets = restricted && !open[k] ? instead : into;  // no branch: it would be guessed wrong half the time
        const T *of_source = m + from[k];
        T *whole = a + from[k], *suits = g + from[k];
        V<T> product{};
        for (long d = 0; d < wide; d += LANES<T>) {
          const V<T> sent = vector_at(into + d);
          product += vector_at(of_source + d) * sent;
          vector_at(whole + d) += p * sent;
          if (restricted) vector_at(suits + d) += p * vector_at(gets + d);
        }
        grad_weights[k * rows + r] = sum_of<T>(&product);
      }
      from += many, share += many, open += many, into += wide;
      instead += instead_row, m += m_row, a += m_row, g += m_row;
    }
  }
};

// Calls work(padded width of a module, sources of each) with constants for the sizes of `lite` and of the paper in
// float32, whose inner loops the compiler then lays out flat; with 0 for all others.
template <class T, class Work> void with_known_sizes(long dim, long top_k, const Work &work) {
  using std::integral_constant;
  const long wide = round_up(dim, PANEL<T>);
  if (top_k == 2 && wide == 32) return work(integral_constant<long, 32>(), integral_constant<long, 2>());
  if (top_k == 2 && wide == 128) return work(integral_constant<long, 128>(), integral_constant<long, 2>());
  work(integral_constant<long, 0>(), integral_constant<long, 0>());
}

}  // namespace
