// What an update of small networks spends its time on, as plain loops over vectors:
//
//   chain, chain_backward       linear layers with ReLUs between them, the first with the one-hot task or without, and back
//   decide, decide_backward     routing logits -> chosen sources, their weights, which ResRouting lets be optimised
//   whole, whole_backward       D2R's whole network, of these parts
//   stack, stack_backward       D2R's modules 2..N and the output's mix (networks/d2r/stack.py holds the formulas)
//   sample, sample_backward     the policy's actions and their log-probabilities
//   transitions                 a batch, copied out of the replay
//   clip, adam, follow          gradients clipped, parameters moved along them, and targets towards the parameters
//
// PyTorch's operators compute the same (networks/layers.py, d2r/choice.py, d2r/stack.py) and are the reference: they
// serve wherever this was not compiled. Arrays are row-major; their sizes and distances count elements. Sums are taken
// in a fixed order, which depends on the sizes, the vector width and the number of threads and on nothing else.
//
// The vector types are the compiler's own (GCC, Clang), so that one source serves every processor; the build compiles
// it once for each width (build.py). networks/ and algorithms/ call it in modules named compiled.

#include "optimise.h"
#include "policy.h"
#include "transitions.h"
#include "whole.h"

namespace {

// Sizes of the larger calls, and the distances in their arrays, come as one array (the two compiled.py).
template <class T>
Chain<T> chain_of(const long *n, const T *scale, const T *const *weight, const T *const *bias) {
  return {n[0], n[1], n[2], n[3], n[4], n[5] != 0, n[6] != 0, n[7] != 0, n + 8, weight, bias, scale};
}

template <class T, class Work>
void with_stack(const long *n, const T *weight, const T *bias, const int64_t *sources, const T *weights,
                const uint8_t *suitable, const Work &work) {
  const OfSources<int64_t> of_sources{sources, n[8], n[9], n[10], n[11]};
  const OfSources<T> of_weights{weights, n[12], n[13], n[14], n[15]};
  const OfSources<uint8_t> of_suitable{suitable, n[16], n[17], n[18], n[19]};
  with_known_sizes<T>(n[2], n[4], [&](auto wide, auto top_k) {
    using Known = Stack<T, decltype(wide)::value, decltype(top_k)::value>;
    work(Known{n[0], n[1], n[2], n[3], n[4], n[5] != 0, weight, bias, n[6], n[7], of_sources, of_weights, of_suitable});
  });
}

template <class T> Whole<T> whole_of(const long *n, const T *const *parameters) {
  return {*reinterpret_cast<const WholeSizes *>(n), parameters};
}

template <class T> Policy<T> policy_of(const long *n, const double *limits, const T *output, const T *noise) {
  return {n[0], n[1], T(limits[0]), T(limits[1]), T(limits[2]), output, noise};
}

std::vector<Quantity> quantities_of(const long *n, const void *const *rings, void *const *to) {
  std::vector<Quantity> all;
  for (long i = 0; i < n[5]; i++)
    all.push_back({n[6 + 3 * i], n[7 + 3 * i], n[8 + 3 * i], static_cast<const char *>(rings[i]),
                   static_cast<char *>(to[i])});
  return all;
}

}  // namespace

#define OF_TYPE(T, NAME)                                                                                               \
  long d2r_chain_kept_##NAME(const long *n) { return chain_of<T>(n, nullptr, nullptr, nullptr).kept(); }               \
  void d2r_chain_##NAME(const long *n, const T *x, const T *scale, const T *const *weight, const T *const *bias, T *y, \
                        T *keep, int threads) {                                                                        \
    chain_of<T>(n, scale, weight, bias).forward(x, y, keep, threads);                                                  \
  }                                                                                                                    \
  void d2r_chain_backward_##NAME(const long *n, const T *x, const T *scale, const T *const *weight, const T *y,        \
                                 const T *keep, const T *grad_y, T *grad_x, T *grad_scale, T *const *grad_weight,      \
                                 T *const *grad_bias, int threads) {                                                   \
    chain_of<T>(n, scale, weight, nullptr)                                                                             \
        .backward(x, y, keep, grad_y, grad_x, false, grad_scale, grad_weight, grad_bias, threads);                     \
  }                                                                                                                    \
  void d2r_decide_##NAME(const long *n, const T *logits, const T *noise, const T *coldness, const uint8_t *given,      \
                         int64_t *sources, T *weights, uint8_t *suitable, int threads) {                               \
    const Columns<T> values{logits, n[6], n[7], n[8]}, noises{noise, n[9], n[10], n[11]};                              \
    Deciding<T>{n[0], n[1], n[2], {n[3], n[4], n[5]}, values, noises, coldness, n[13], given, n[12], sources, weights, \
                suitable}                                                                                              \
        .decide(threads);                                                                                              \
  }                                                                                                                    \
  void d2r_decide_backward_##NAME(const long *n, const int64_t *sources, const T *weights, const T *grad_weights,      \
                                  T *grad_logits) {                                                                    \
    decide_backward<T>(n[0], n[1], {n[3], n[4], n[5]}, sources, weights, grad_weights, grad_logits);                   \
  }                                                                                                                    \
  long d2r_whole_room_##NAME(const long *n, int keep) {                                                                \
    const auto inner = whole_of<T>(n, nullptr).inner(nullptr);                                                         \
    return keep ? inner.count_to_keep : inner.count;                                                                   \
  }                                                                                                                    \
  void d2r_whole_##NAME(const long *n, const T *const *parameters, const T *x, const long *distances, const T *noise,  \
                        const T *coldness, const uint8_t *given, T *memory, int keep, T *logits, int64_t *sources,     \
                        T *weights, uint8_t *suitable, T *value, int threads) {                                        \
    const long *d = distances;                                                                                         \
    whole_of<T>(n, parameters)                                                                                         \
        .forward(x, {{noise, d[0], d[1], d[2]}, coldness, d[3], given, d[4]}, memory, keep != 0, logits,               \
                 {sources, weights, suitable}, value, threads);                                                        \
  }                                                                                                                    \
  void d2r_whole_backward_##NAME(const long *n, const T *const *parameters, const T *x, T *memory, int64_t *sources,   \
                                 T *weights, uint8_t *suitable, const T *grad_value, T *grad_x, T *const *gradients,   \
                                 int threads) {                                                                        \
    whole_of<T>(n, parameters)                                                                                         \
        .backward(x, memory, {sources, weights, suitable}, grad_value, grad_x, gradients, threads);                    \
  }                                                                                                                    \
  long d2r_width_##NAME(long dim) { return round_up(dim, PANEL<T>); }                                                  \
  void d2r_stack_##NAME(const long *n, const T *first, const T *weight, const T *bias, const int64_t *sources,         \
                        const T *weights, T *out, T *own, int threads) {                                               \
    with_stack<T>(n, weight, bias, sources, weights, nullptr,                                                          \
                  [=](const auto &stack) { stack.forward(first, out, own, threads); });                                \
  }                                                                                                                    \
  void d2r_stack_backward_##NAME(const long *n, const T *first, const T *weight, const T *bias, const int64_t *sources,\
                                 const T *weights, const uint8_t *suitable, const T *own,                              \
                                 const T *grad_out, T *grad_first, T *grad_weights, T *grad_weight, T *grad_bias,      \
                                 int threads) {                                                                        \
    with_stack<T>(n, weight, bias, sources, weights, suitable, [=](const auto &stack) {                                \
      stack.backward(first, own, grad_out, grad_first, grad_weights, grad_weight, grad_bias, threads);                 \
    });                                                                                                                \
  }                                                                                                                    \
  void d2r_sample_##NAME(const long *n, const double *limits, const T *output, const T *noise, T *action,             \
                         T *log_prob) {                                                                                \
    policy_of<T>(n, limits, output, noise).sample(action, log_prob);                                                   \
  }                                                                                                                    \
  void d2r_sample_backward_##NAME(const long *n, const double *limits, const T *output, const T *noise,                \
                                  const T *action, const T *grad_action, const T *grad_log_prob, T *grad_output) {     \
    policy_of<T>(n, limits, output, noise).backward(action, grad_action, grad_log_prob, grad_output);                  \
  }                                                                                                                    \
  void d2r_transitions_##NAME(const long *n, const void *const *rings, const int64_t *time, void *const *to,           \
                              T *terminal) {                                                                           \
    copy_transitions<T>(n[0], n[1], n[2], n[3], n[4] != 0, quantities_of(n, rings, to), time, terminal);               \
  }                                                                                                                    \
  long d2r_clip_##NAME(const long *n, T *const *gradient, double bound, double epsilon, T *norm, int threads) {        \
    return clip_all<T>({n}, gradient, bound, epsilon, norm, threads);                                                  \
  }                                                                                                                    \
  void d2r_adam_##NAME(const long *n, T *const *parameter, const T *const *gradient, T *const *mean, T *const *square, \
                       float *const *steps, const double *rate, const double *betas_and_epsilon, int threads) {        \
    adam_all<T>({n}, parameter, gradient, mean, square, steps, rate, betas_and_epsilon, threads);                      \
  }                                                                                                                    \
  void d2r_follow_##NAME(const long *n, T *const *tensor, const T *const *goal, double share, int threads) {           \
    follow<T>({n}, tensor, goal, share, threads);                                                                      \
  }

extern "C" {
OF_TYPE(float, f32)
OF_TYPE(double, f64)
}
