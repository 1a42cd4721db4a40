// Routing decisions: which modules a module reads, and with which weights.
#pragma once

#include "threads.h"
#include "vectors.h"

namespace {

// e^x for x up to 80: 2^n times the Taylor series of the rest, which is at most ln 2 / 2.
template <class T> V<T> exponential(V<T> x) {
  using C = Vectors<T>;
  const V<T> bounded = x < C::LEAST ? everywhere<T>(C::LEAST) : x;
  const V<T> n = (bounded * T(1.4426950408889634) + C::ROUND) - C::ROUND;
  const V<T> rest = (bounded - n * C::LN2_HIGH) - n * C::LN2_LOW;
  V<T> series = everywhere<T>(1);
  for (int k = C::TERMS; k > 0; k--) series = series * (rest * T(1.0 / k)) + T(1);
  const I<T> power = (__builtin_convertvector(n, I<T>) + C::BIAS) << C::MANTISSA;
  return x < C::LEAST ? V<T>{} : series * reinterpret_cast<const V<T> &>(power);
}

// A matrix [member, column, row] of any layout.
template <class T> struct Columns {
  const T *at;
  long member, column, row;
  // LANES rows of one column; rows that do not exist repeat the last.
  V<T> rows_at(long e, long c, long first, long valid) const {
    const T *p = at + e * member + c * column + first * row;
    if (row == 1 && valid >= LANES<T>) return vector_at(p);
    V<T> v;
    for (long lane = 0; lane < LANES<T>; lane++) v[lane] = p[(lane < valid ? lane : valid - 1) * row];
    return v;
  }
};

template <class T> struct Best {
  I<T> index;
  V<T> value;
};

// The largest of `count` scores that is not among those `taken`, of equal ones the first. Where a score is not a number
// the last is chosen and its value is no number, so that it reaches the loss.
template <class T>
Best<T> best_of(const V<T> *score, const V<T> *value, long count, const I<T> *taken, long how_many) {
  V<T> highest = everywhere<T>(-__builtin_inf());
  Best<T> best{everywhere_index<T>(count - 1), value[count - 1]};
  I<T> wrong{};
  for (long j = 0; j < count; j++) {
    const I<T> here = everywhere_index<T>(j);
    I<T> better = score[j] > highest;
    for (long t = 0; t < how_many; t++) better &= taken[t] != here;
    highest = better ? score[j] : highest;
    best.index = better ? here : best.index;
    best.value = better ? value[j] : best.value;
    wrong |= score[j] != score[j];
  }
  best.index = wrong ? everywhere_index<T>(count - 1) : best.index;
  best.value = wrong ? everywhere<T>(__builtin_nan("")) : best.value;
  return best;
}

// Sizes of a routing decision: N groups, of which group g chooses K of its first min(g + 1, in_use) candidates.
struct Groups {
  long count, in_use, top_k;
  long candidates(long g) const { return g + 1 < in_use ? g + 1 : in_use; }
  long first_logit(long g) const { return g * (g + 1) / 2; }
};

// Choose K sources for LANES rows of one group: the best by `score`, or those `given` (of one row at given[lane_step *
// lane + k]). Sets their numbers and their logits.
template <class T>
void choose(long count, long top_k, const V<T> *score, const V<T> *value, const uint8_t *given, long lane_step,
            long valid, I<T> *index, V<T> *chosen) {
  for (long k = 0; k < top_k; k++) {
    if (given) {
      for (long lane = 0; lane < LANES<T>; lane++)
        index[k][lane] = given[(lane < valid ? lane : valid - 1) * lane_step + k];
      chosen[k] = value[0];
      for (long j = 1; j < count; j++) chosen[k] = index[k] == everywhere_index<T>(j) ? value[j] : chosen[k];
    } else if (k < count) {
      const Best<T> best = best_of<T>(score, value, count, index, k);
      index[k] = best.index;
      chosen[k] = best.value;
    } else {
      index[k] = everywhere_index<T>(count - 1);
      chosen[k] = value[count - 1];
    }
  }
}

// Sums exp(value - highest) into `total`, each term going to `share` if that is wanted; returns the highest value.
template <class T> V<T> exponentials(long count, const V<T> *value, V<T> *share, V<T> &total) {
  V<T> highest = value[0];
  for (long j = 1; j < count; j++) highest = value[j] > highest ? value[j] : highest;
  total = V<T>{};
  for (long j = 0; j < count; j++) {
    const V<T> part = exponential<T>(value[j] - highest);
    if (share) share[j] = part;
    total += part;
  }
  return highest;
}

constexpr double AS_MANY_MULTIPLY_ADDS = 50;  // what a logit of a row takes

// `noise` is at null for deterministic routes, `coldness` [task], those of members `coldness_member` apart; `given` is
// null unless routes [row, group, K] are replayed, those of members `given_member` apart, `suitable` where nobody asks.
// Results are [member, group, K, row].
template <class T> struct Deciding {
  long ensemble, rows, tasks;
  Groups groups;
  Columns<T> logits, noise;
  const T *coldness;
  long coldness_member;
  const uint8_t *given;
  long given_member;
  int64_t *sources;
  T *weights;
  uint8_t *suitable;

  long all() const { return groups.first_logit(groups.count); }

  struct Scratch {
    Buffer<V<T>> value, noisy, chosen, share;
    Buffer<I<T>> index;
    explicit Scratch(const Deciding &d)
        : value(d.all()), noisy(d.noise.at ? d.all() : 0), chosen(d.groups.top_k), share(d.groups.top_k),
          index(d.groups.top_k) {}
  };

  void decide(int threads) const {
    const long vectors = (rows + LANES<T> - 1) / LANES<T>;
    const double work = double(ensemble) * rows * all() * AS_MANY_MULTIPLY_ADDS;
    in_threads(threads_worth(threads, work), ensemble * vectors, 1, [&](long begin, long end) {
      const Scratch scratch(*this);
      for (long i = begin; i < end; i++) of_rows(i / vectors, i % vectors * LANES<T>, scratch);
    });
  }

  void of_rows(long e, long first, const Scratch &scratch) const {
    const long valid = rows - first < LANES<T> ? rows - first : LANES<T>;
    V<T> cold{};
    if (noise.at)
      for (long lane = 0; lane < LANES<T>; lane++) cold[lane] = coldness[e * coldness_member + (first + lane) % tasks];
    for (long c = 0; c < all(); c++) {
      scratch.value[c] = logits.rows_at(e, c, first, valid);
      if (noise.at) scratch.noisy[c] = noise.rows_at(e, c, first, valid) + scratch.value[c] * cold;
    }
    for (long g = 0; g < groups.count; g++) of_group(g, e, first, valid, scratch);
  }

  void of_group(long g, long e, long first, long valid, const Scratch &scratch) const {
    const long top_k = groups.top_k, count = groups.candidates(g), distinct = top_k < count ? top_k : count;
    const V<T> *values = scratch.value + groups.first_logit(g), *chosen = scratch.chosen;
    const V<T> *scores = noise.at ? scratch.noisy + groups.first_logit(g) : values;
    const uint8_t *of_rows = given ? given + e * given_member + (first * groups.count + g) * top_k : nullptr;
    choose<T>(count, top_k, scores, values, of_rows, groups.count * top_k, valid, scratch.index, scratch.chosen);
    V<T> of_chosen, of_all{}, highest{};
    exponentials<T>(distinct, chosen, scratch.share, of_chosen);
    if (suitable) highest = exponentials<T>(count, values, nullptr, of_all);
    const T least = 1.0f / (count + 1);  // rounded as PyTorch rounds it
    for (long k = 0; k < top_k; k++) {
      const long at = ((e * groups.count + g) * top_k + k) * rows + first;
      store(weights + at, k < distinct ? scratch.share[k] / of_chosen : V<T>{}, valid);
      for (long lane = 0; lane < valid; lane++) sources[at + lane] = scratch.index[k][lane];
      if (!suitable) continue;
      const I<T> enough = exponential<T>(chosen[k] - highest) / of_all > least;
      for (long lane = 0; lane < valid; lane++) suitable[at + lane] = enough[lane] != 0;
    }
  }
};

// Gradient of the logits [member, row, logit] from that of the weights [member, group, K, row].
template <class T>
void decide_backward(long ensemble, long rows, Groups groups, const int64_t *sources, const T *weights,
                     const T *grad_weights, T *grad_logits) {
  const long top_k = groups.top_k, all = groups.first_logit(groups.count);
  for (long i = 0; i < ensemble * rows * all; i++) grad_logits[i] = 0;
  for (long e = 0; e < ensemble; e++)
    for (long g = 0; g < groups.count; g++) {
      const long count = groups.candidates(g), distinct = top_k < count ? top_k : count;
      const long at = (e * groups.count + g) * top_k * rows;
      for (long row = 0; row < rows; row++) {
        T mean = 0;
        for (long k = 0; k < distinct; k++) mean += weights[at + k * rows + row] * grad_weights[at + k * rows + row];
        T *gradient = grad_logits + (e * rows + row) * all + groups.first_logit(g);
        for (long k = 0; k < distinct; k++) {
          const long i = at + k * rows + row;
          gradient[sources[i]] += weights[i] * (grad_weights[i] - mean);
        }
      }
    }
}

}  // namespace
