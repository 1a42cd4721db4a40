// What moves parameters: gradients clipped by member, Adam, and targets that follow.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "threads.h"
#include "vectors.h"

namespace {

constexpr double AS_MULTIPLY_ADDS = 40;  // what an element of a parameter takes, most of it waiting for memory

// Tensors of which each has as many equal parts: part p of tensor i is piece i * parts + p.
struct Pieces {
  long tensors, parts;
  const long *sizes;  // of the tensors

  long count() const { return tensors * parts; }
  long size(long piece) const { return sizes[piece / parts] / parts; }
  template <class T> T *at(T *const *tensor, long piece) const {
    return tensor[piece / parts] + piece % parts * size(piece);
  }

  // Calls work(piece, begin, end) for all elements, shared among threads.
  template <class Work> void in_threads_of(int threads, long unit, const Work &work) const {
    long total = 0;
    for (long i = 0; i < tensors; i++) total += sizes[i];
    in_threads(threads_worth(threads, AS_MULTIPLY_ADDS * total), total, unit, [&](long begin, long end) {
      for (long piece = 0, first = 0; piece < count() && first < end; first += size(piece++)) {
        const long from = begin > first ? begin - first : 0, to = end - first < size(piece) ? end - first : size(piece);
        if (from < to) work(piece, from, to);
      }
    });
  }
};

// Groups of tensors, one after the other: n holds how many groups, of each its tensors and their parts, and all sizes.
struct Grouped {
  const long *n;
  long tensors() const {
    long all = 0;
    for (long g = 0; g < n[0]; g++) all += n[1 + 2 * g];
    return all;
  }
  const long *sizes() const { return n + 1 + 2 * n[0]; }
  // Calls work(group, number of its first tensor, pieces).
  template <class Work> void each(const Work &work) const {
    for (long g = 0, first = 0; g < n[0]; first += n[1 + 2 * g++])
      work(g, first, Pieces{n[1 + 2 * g], n[2 + 2 * g], sizes() + first});
  }
};

// Whether an element of one tensor is one of another, too. A tensor may be null.
template <class T> bool share_memory(const Grouped &groups, T *const *tensor) {
  std::vector<std::pair<T *, T *>> spans;
  for (long i = 0; i < groups.tensors(); i++)
    if (tensor[i]) spans.emplace_back(tensor[i], tensor[i] + groups.sizes()[i]);
  std::sort(spans.begin(), spans.end());
  for (size_t i = 1; i < spans.size(); i++)
    if (spans[i].first < spans[i - 1].second) return true;
  return false;
}

// Four sums side by side, then the sum of these: the order depends on `count` alone.
template <class T> T sum_of_squares(const T *p, long count) {
  constexpr long WIDTH = 4;
  V<T> sums[WIDTH] = {};
  for (long i = 0; i < count; i += WIDTH * LANES<T>)
    for (long w = 0; w < WIDTH && i + w * LANES<T> < count; w++) {
      const V<T> v = load(p + i + w * LANES<T>, count - i - w * LANES<T>);
      sums[w] += v * v;
    }
  const V<T> total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return sum_of<T>(&total);
}

// Scales the gradients of each member so that their joint norm is at most `bound`; `norm` is that before. Parts are
// members'. What is no number spoils its own member and no other.
template <class T>
void clip(const Pieces &pieces, T *const *gradient, T bound, T epsilon, T *norm, int threads) {
  const Buffer<T> factor(pieces.parts);
  for (long member = 0; member < pieces.parts; member++) {
    T sum = 0;
    for (long i = 0, piece = member; i < pieces.tensors; i++, piece += pieces.parts)
      if (gradient[i]) sum += sum_of_squares<T>(pieces.at(gradient, piece), pieces.size(piece));
    norm[member] = std::sqrt(sum);
    const T share = bound / (norm[member] + epsilon);
    factor[member] = share > 1 ? T(1) : share;
  }
  pieces.in_threads_of(threads, LANES<T>, [&](long piece, long begin, long end) {
    const T by = factor[piece % pieces.parts];
    if (!gradient[piece / pieces.parts] || by == 1) return;
    T *const g = pieces.at(gradient, piece);
    for (long i = begin; i < end; i += LANES<T>) store(g + i, load(g + i, end - i) * by, end - i);
  });
}

// Of all groups, norms one after the other; false, and nothing is done, if gradients share memory.
template <class T>
bool clip_all(const Grouped &groups, T *const *gradient, T bound, T epsilon, T *norm, int threads) {
  if (share_memory(groups, gradient)) return false;
  groups.each([&](long, long first, const Pieces &pieces) {
    clip<T>(pieces, gradient + first, bound, epsilon, norm, threads);
    norm += pieces.parts;
  });
  return true;
}

template <class T> V<T> root(V<T> v) {
  for (long lane = 0; lane < LANES<T>; lane++) v[lane] = std::sqrt(v[lane]);
  return v;
}

struct Rates {
  double rate, beta1, beta2, epsilon;
};

// Adam as PyTorch's fused kernel computes it, with one division less: step * m / (sqrt(v) / c + epsilon) is
// step * c * m / (sqrt(v) + epsilon * c). Parts are seeds', which count their own steps; gradients may be null.
template <class T>
void adam(const Pieces &pieces, T *const *parameter, const T *const *gradient, T *const *mean, T *const *square,
          float *const *steps, const Rates &rates, int threads) {
  struct Corrected {
    T step, epsilon;
  };
  const Buffer<Corrected> corrected(pieces.count());
  for (long piece = 0; piece < pieces.count(); piece++) {
    if (!gradient[piece / pieces.parts]) continue;
    const double step = steps[piece / pieces.parts][piece % pieces.parts] += 1;
    const double correction = std::sqrt(1 - std::pow(rates.beta2, step));
    corrected[piece] = {static_cast<T>(rates.rate / (1 - std::pow(rates.beta1, step)) * correction),
                        static_cast<T>(rates.epsilon * correction)};
  }
  const T beta1 = rates.beta1, beta2 = rates.beta2, rest1 = 1 - rates.beta1, rest2 = 1 - rates.beta2;
  pieces.in_threads_of(threads, LANES<T>, [&](long piece, long begin, long end) {
    if (!gradient[piece / pieces.parts]) return;
    T *const p = pieces.at(parameter, piece), *const m = pieces.at(mean, piece), *const v = pieces.at(square, piece);
    const T *const g = pieces.at(gradient, piece);
    const Corrected by = corrected[piece];
    for (long i = begin; i < end; i += LANES<T>) {
      const long valid = end - i;
      const V<T> given = load(g + i, valid), first = load(m + i, valid) * beta1 + given * rest1;
      const V<T> second = load(v + i, valid) * beta2 + given * given * rest2;
      store(m + i, first, valid);
      store(v + i, second, valid);
      store(p + i, load(p + i, valid) - by.step * first / (root<T>(second) + by.epsilon), valid);
    }
  });
}

// Of all groups, each at its own rate.
template <class T>
void adam_all(const Grouped &groups, T *const *parameter, const T *const *gradient, T *const *mean, T *const *square,
              float *const *steps, const double *rate, const double *betas_and_epsilon, int threads) {
  groups.each([&](long g, long first, const Pieces &pieces) {
    adam<T>(pieces, parameter + first, gradient + first, mean + first, square + first, steps + first,
            {rate[g], betas_and_epsilon[0], betas_and_epsilon[1], betas_and_epsilon[2]}, threads);
  });
}

// Moves tensors a share of the way to their goals.
template <class T>
void follow(const Grouped &groups, T *const *tensor, const T *const *goal, T share, int threads) {
  groups.each([&](long, long first, const Pieces &pieces) {
    pieces.in_threads_of(threads, LANES<T>, [&](long piece, long begin, long end) {
      T *const own = pieces.at(tensor + first, piece);
      const T *const to = pieces.at(goal + first, piece);
      for (long i = begin; i < end; i += LANES<T>) {
        const V<T> here = load(own + i, end - i), there = load(to + i, end - i), way = there - here;
        store(own + i, share < T(0.5) ? here + way * share : there - way * (1 - share), end - i);
      }
    });
  });
}

}  // namespace
