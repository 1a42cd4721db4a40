// The tanh-Gaussian policy: from an actor's output and noise to actions and their log-probabilities, and back.
#pragma once

#include "decision.h"

namespace {

// From e^(-2|x|) = 2^n (1 + part), of which neither what is close to one nor what is close to none loses digits.
template <class T> V<T> hyperbolic_tangent(V<T> x) {
  using C = Vectors<T>;
  const V<T> twice = x < T(0) ? x + x : -(x + x), bounded = twice < C::LEAST ? everywhere<T>(C::LEAST) : twice;
  const V<T> n = (bounded * T(1.4426950408889634) + C::ROUND) - C::ROUND;
  const V<T> rest = (bounded - n * C::LN2_HIGH) - n * C::LN2_LOW;
  V<T> series = everywhere<T>(1);
  for (int k = C::TERMS; k > 1; k--) series = series * (rest * T(1.0 / k)) + T(1);
  const I<T> bits = (__builtin_convertvector(n, I<T>) + C::BIAS) << C::MANTISSA;
  const V<T> power = reinterpret_cast<const V<T> &>(bits), part = rest * series * power;
  const V<T> whole = power + part, less_one = part + (power - T(1));
  const V<T> size = whole < T(0.5) ? T(1) - (whole + whole) / (whole + T(1)) : -less_one / (less_one + T(2));
  return x < T(0) ? -size : size;
}

// Of positive numbers, x = 2^n (1 + f) / (1 - f) with the factor after 2^n between sqrt(1/2) and sqrt(2).
template <class T> V<T> logarithm(V<T> x) {
  using C = Vectors<T>;
  const V<T> root_of_half = everywhere<T>(T(0.70710678118654752));
  const I<T> bits = reinterpret_cast<const I<T> &>(x);
  const I<T> n = (bits - reinterpret_cast<const I<T> &>(root_of_half)) >> C::MANTISSA, rest = bits - (n << C::MANTISSA);
  const V<T> over = reinterpret_cast<const V<T> &>(rest) - T(1), f = over / (over + T(2)), square = f * f;
  V<T> series{};
  for (int k = C::TERMS - 2; k > 0; k--) series = square * (series + T(1.0 / (2 * k + 1)));
  const V<T> exponent = __builtin_convertvector(n, V<T>);
  const V<T> found = exponent * C::LN2_HIGH + ((f + f) + ((f + f) * series + exponent * C::LN2_LOW));
  return x == x ? found : x;
}

template <class T> struct Policy {
  long rows, actions;
  T least, most;  // log-std
  T epsilon;      // of the change of variables
  const T *output, *noise;  // [row, means and log-stds], [row, action]

  // LANES values of column c of a matrix with this many columns, from one row on.
  static V<T> column(const T *p, long columns, long c, long row, long valid) {
    return Columns<T>{p, 0, 1, columns}.rows_at(0, c, row, valid);
  }
  static void set_column(T *p, long columns, long c, long row, long valid, V<T> v) {
    for (long lane = 0; lane < valid; lane++) p[(row + lane) * columns + c] = v[lane];
  }
  V<T> bounded(V<T> log_std) const {
    const V<T> below = log_std < least ? everywhere<T>(least) : log_std;
    return below > most ? everywhere<T>(most) : below;
  }
  // What tanh's slope adds to the probability's denominator.
  V<T> slope(V<T> action) const { return T(1) - action * action + epsilon; }
  // Calls work(first row, rows up to LANES).
  template <class Work> void in_lanes(const Work &work) const {
    for (long row = 0; row < rows; row += LANES<T>) work(row, rows - row < LANES<T> ? rows - row : LANES<T>);
  }

  void sample(T *action, T *log_prob) const {
    in_lanes([&](long row, long valid) {
      V<T> sum{};
      for (long c = 0; c < actions; c++) {
        const V<T> mean = column(output, 2 * actions, c, row, valid), drawn = column(noise, actions, c, row, valid);
        const V<T> log_std = bounded(column(output, 2 * actions, actions + c, row, valid));
        const V<T> chosen = hyperbolic_tangent<T>(mean + exponential<T>(log_std) * drawn);
        const V<T> gaussian = T(-0.5) * (drawn * drawn) - log_std - T(0.91893853320467274);  // log(2 pi) / 2
        sum += gaussian - logarithm<T>(slope(chosen));
        set_column(action, actions, c, row, valid, chosen);
      }
      store(log_prob + row, sum, valid);
    });
  }

  // The gradient of the output from those of the actions and of their log-probabilities.
  void backward(const T *action, const T *grad_action, const T *grad_log_prob, T *grad_output) const {
    in_lanes([&](long row, long valid) {
      const V<T> of_log_prob = load(grad_log_prob + row, valid);
      for (long c = 0; c < actions; c++) {
        const V<T> chosen = column(action, actions, c, row, valid), drawn = column(noise, actions, c, row, valid);
        const V<T> given = column(output, 2 * actions, actions + c, row, valid);
        const V<T> of_action = column(grad_action, actions, c, row, valid) + of_log_prob * (chosen + chosen) / slope(chosen);
        const V<T> of_mean = of_action * (T(1) - chosen * chosen);
        const V<T> of_log_std = of_mean * drawn * exponential<T>(bounded(given)) - of_log_prob;
        const I<T> passes = (given >= least) & (given <= most);
        set_column(grad_output, 2 * actions, c, row, valid, of_mean);
        set_column(grad_output, 2 * actions, actions + c, row, valid, passes ? of_log_std : V<T>{});
      }
    });
  }
};

}  // namespace
