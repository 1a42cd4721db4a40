// Losses of each task from what networks answered for its transitions, and back to their answers.
#pragma once

#include "vectors.h"

namespace {

// Numbers of transitions are laid out as [seed, batch, task], those of critics as [seed, critic, batch, task]. A vector
// holds as many tasks; a loss is summed over the batch in order. Formulas and names are those of algorithms/losses.py.
template <class T> struct TaskLosses {
  long seeds, critics, batch, tasks;

  // Calls work(seed, first task, how many up to LANES).
  template <class Work> void each(const Work &work) const {
    for (long s = 0; s < seeds; s++)
      for (long t = 0; t < tasks; t += LANES<T>) work(s, t, tasks - t < LANES<T> ? tasks - t : LANES<T>);
  }
  long of_seed(long s, long t) const { return s * tasks + t; }
  long of_critic(long s, long c, long t) const { return (s * critics + c) * tasks + t; }
  long at(long s, long b, long t) const { return (s * batch + b) * tasks + t; }
  long at(long s, long c, long b, long t) const { return ((s * critics + c) * batch + b) * tasks + t; }

  // What is no number is the smaller of two, so that it reaches the loss.
  V<T> smallest(const T *value, long s, long b, long t, long valid) const {
    V<T> least = load(value + at(s, 0, b, t), valid);
    for (long c = 1; c < critics; c++) {
      const V<T> other = load(value + at(s, c, b, t), valid);
      const I<T> stays = (least < other) | (least != least);
      least = stays ? least : other;
    }
    return least;
  }

  // `error` is what critics answered less the target, kept for the way back.
  void of_critics(T discount, const T *value, const T *next_value, const T *next_log_prob, const T *reward,
                  const T *terminal, const T *alpha, const T *weight, T *error, T *loss) const {
    each([&](long s, long t, long valid) {
      const V<T> temperature = load(alpha + of_seed(s, t), valid), share = load(weight + of_seed(s, t), valid);
      for (long c = 0; c < critics; c++) {
        V<T> sum{};
        for (long b = 0; b < batch; b++) {
          const long i = at(s, b, t), j = at(s, c, b, t);
          const V<T> soft = smallest(next_value, s, b, t, valid) - temperature * load(next_log_prob + i, valid);
          const V<T> goes_on = discount * (T(1) - load(terminal + i, valid));
          const V<T> off = load(value + j, valid) - (load(reward + i, valid) + goes_on * soft);
          store(error + j, off, valid);
          sum += off * off;
        }
        store(loss + of_critic(s, c, t), share * (sum / T(batch)), valid);
      }
    });
  }

  void of_critics_backward(const T *error, const T *weight, const T *grad_loss, T *grad_value) const {
    each([&](long s, long t, long valid) {
      for (long c = 0; c < critics; c++) {
        const V<T> share = load(weight + of_seed(s, t), valid);
        const V<T> factor = load(grad_loss + of_critic(s, c, t), valid) * share * T(2) / T(batch);
        for (long b = 0; b < batch; b++)
          store(grad_value + at(s, c, b, t), factor * load(error + at(s, c, b, t), valid), valid);
      }
    });
  }

  void of_policy(const T *value, const T *log_prob, const T *alpha, const T *weight, T *loss, T *mean_log_prob) const {
    each([&](long s, long t, long valid) {
      const V<T> temperature = load(alpha + of_seed(s, t), valid);
      V<T> sum{}, of_log_prob{};
      for (long b = 0; b < batch; b++) {
        const V<T> likely = load(log_prob + at(s, b, t), valid);
        sum += temperature * likely - smallest(value, s, b, t, valid);
        of_log_prob += likely;
      }
      store(loss + of_seed(s, t), load(weight + of_seed(s, t), valid) * (sum / T(batch)), valid);
      store(mean_log_prob + of_seed(s, t), of_log_prob / T(batch), valid);
    });
  }

  // Critics that answer the same smallest value share its gradient equally; where that is no number, nor is its gradient.
  void of_policy_backward(const T *value, const T *alpha, const T *weight, const T *grad_loss, T *grad_value,
                          T *grad_log_prob) const {
    each([&](long s, long t, long valid) {
      const V<T> share = load(weight + of_seed(s, t), valid);
      const V<T> factor = load(grad_loss + of_seed(s, t), valid) * share / T(batch);
      const V<T> of_log_prob = factor * load(alpha + of_seed(s, t), valid);
      for (long b = 0; b < batch; b++) {
        store(grad_log_prob + at(s, b, t), of_log_prob, valid);
        const V<T> least = smallest(value, s, b, t, valid);
        V<T> how_many{};
        for (long c = 0; c < critics; c++)
          how_many += load(value + at(s, c, b, t), valid) == least ? everywhere<T>(1) : V<T>{};
        for (long c = 0; c < critics; c++) {
          const V<T> answer = load(value + at(s, c, b, t), valid);
          store(grad_value + at(s, c, b, t), (answer == least ? -factor : V<T>{}) / how_many, valid);
        }
      }
    });
  }
};

}  // namespace
