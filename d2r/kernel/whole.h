// D2R's whole network, forwards and back: the parts of networks/d2r/network.py one after the other.
#pragma once

#include "chain.h"
#include "decision.h"
#include "stack.h"

namespace {

// Sizes and switches, as networks/d2r/whole.py sends them; behind them come the widths of the encoder and of the router.
struct WholeSizes {
  long ensemble, rows, tasks, x_member;
  long count, top_k, dim, outputs;
  long relu_first, residual;
  long encoder_layers, router_layers;
  const long *widths() const { return reinterpret_cast<const long *>(this + 1); }
};

// How sources are to be chosen; see `decide`.
template <class T> struct Question {
  Columns<T> noise;
  const T *coldness;
  long coldness_member;
  const uint8_t *given;
  long given_member;
};

// A decision, each [member, group, K, row]; `suitable` is null where nobody asks.
template <class T> struct Decision {
  int64_t *sources;
  T *weights;
  uint8_t *suitable;
};

// Parameters come part by part, of chains all weights and then all biases: encoder, task encoder, router, module 1,
// the other modules, head; their gradients likewise.
template <class T> struct Whole {
  const WholeSizes &n;
  const T *const *parameters;

  const long *encoder_widths() const { return n.widths(); }
  const long *router_widths() const { return n.widths() + n.encoder_layers + 1; }
  long seen() const { return n.widths()[n.encoder_layers]; }  // width of an encoded state
  long logits() const { return router_widths()[n.router_layers]; }

  // Where each part begins among the parameters.
  long of_task() const { return 2 * n.encoder_layers; }
  long of_router() const { return of_task() + 2; }
  long of_first() const { return of_router() + 2 * n.router_layers; }
  long of_modules() const { return of_first() + 2; }
  long of_head() const { return of_modules() + 2; }

  Chain<T> chain(long part, long layers, const long *widths, long x_member) const {
    return {n.ensemble, n.rows, n.tasks, layers, x_member, false, false, false,
            widths,     parameters + part, parameters + part + layers, nullptr};
  }
  Chain<T> encoder() const { return chain(0, n.encoder_layers, encoder_widths(), n.x_member); }
  Chain<T> router(const T *task) const {
    Chain<T> made = chain(of_router(), n.router_layers, router_widths(), n.rows * seen());
    made.scale = task, made.relu_first = n.relu_first;
    return made;
  }
  Chain<T> first(const long *widths) const {
    Chain<T> made = chain(of_first(), 1, widths, n.rows * seen());
    made.relu_first = made.relu_last = true;
    return made;
  }
  Chain<T> head(const long *widths) const { return chain(of_head(), 1, widths, n.rows * n.dim); }

  Groups groups() const { return {n.count, n.count, n.top_k}; }
  template <class Work> void with_stack(Decision<T> decision, const Work &work) const {
    with_known_sizes<T>(n.dim, n.top_k, [&](auto wide, auto top_k) {
      const long group = n.top_k * n.rows, member = n.count * group;
      const long matrices = (n.count - 1) * n.dim;
      work(Stack<T, decltype(wide)::value, decltype(top_k)::value>{
          n.ensemble, n.rows, n.dim, n.count, n.top_k, n.residual != 0, parameters[of_modules()],
          parameters[of_modules() + 1], matrices * n.dim, matrices,
          {decision.sources, group, member, 1, n.rows}, {decision.weights, group, member, 1, n.rows},
          {decision.suitable, group, member, 1, n.rows}});
    });
  }

  // What is computed on the way, in one piece of memory; what only the way back reads is at its end.
  struct Inner {
    T *state, *task, *first, *mixed, *of_encoder, *of_router, *own;
    long count, count_to_keep;
  };
  Inner inner(T *memory) const {
    long used = 0;
    const auto take = [&](long count) {
      T *at = memory + used;
      used += round_up(count, 64 / sizeof(T));
      return at;
    };
    const long rows = n.ensemble * n.rows;
    Inner made{};
    made.state = take(rows * seen()), made.task = take(n.ensemble * n.tasks * seen());
    made.first = take(rows * n.dim), made.mixed = take(rows * n.dim);
    made.count = used;
    made.of_encoder = take(encoder().kept()), made.of_router = take(router(nullptr).kept());
    made.own = take(rows * (n.count - 1) * round_up(n.dim, PANEL<T>));
    made.count_to_keep = used;
    return made;
  }

  void forward(const T *x, Question<T> question, T *memory, bool keep, T *logits_out, Decision<T> decision, T *value,
               int threads) const {
    const Inner in = inner(memory);
    const long of_first[] = {seen(), n.dim}, of_head[] = {n.dim, n.outputs};
    encoder().forward(x, in.state, keep ? in.of_encoder : nullptr, threads);
    set_task_vectors(in.task);
    router(in.task).forward(in.state, logits_out, keep ? in.of_router : nullptr, threads);
    const Columns<T> logits_in{logits_out, n.rows * logits(), 1, logits()};
    Deciding<T>{n.ensemble, n.rows, n.tasks, groups(), logits_in, question.noise, question.coldness,
                question.coldness_member, question.given, question.given_member, decision.sources, decision.weights,
                decision.suitable}
        .decide(threads);
    first(of_first).forward(in.state, in.first, nullptr, threads);
    with_stack(decision, [&](const auto &stack) { stack.forward(in.first, in.mixed, keep ? in.own : nullptr, threads); });
    head(of_head).forward(in.mixed, value, nullptr, threads);
  }

  // `grad_x` and all of `gradients` may be null.
  void backward(const T *x, T *memory, Decision<T> decision, const T *grad_value, T *grad_x, T *const *gradients,
                int threads) const {
    const Inner in = inner(memory);
    const long rows = n.ensemble * n.rows, many = rows * n.count * n.top_k;
    const long of_first_widths[] = {seen(), n.dim}, of_head_widths[] = {n.dim, n.outputs};
    const Buffer<T> grad_mixed(rows * n.dim), grad_first(rows * n.dim), grad_weights(many);
    const Buffer<T> grad_logits(rows * logits()), grad_state(rows * seen()), grad_task(n.ensemble * n.tasks * seen());
    const auto of = [&](long part) { return gradients ? gradients + part : nullptr; };
    const auto alone = [&](long part) { return gradients ? gradients[part] : nullptr; };

    head(of_head_widths).backward(in.mixed, nullptr, nullptr, grad_value, grad_mixed, false, nullptr, of(of_head()),
                                  of(of_head() + 1), threads);
    with_stack(decision, [&](const auto &stack) {
      stack.backward(in.first, in.own, grad_mixed, grad_first, grad_weights, alone(of_modules()),
                     alone(of_modules() + 1), threads);
    });
    first(of_first_widths).backward(in.state, in.first, nullptr, grad_first, grad_state, false, nullptr,
                                    of(of_first()), of(of_first() + 1), threads);
    decide_backward<T>(n.ensemble, n.rows, groups(), decision.sources, decision.weights, grad_weights, grad_logits);
    router(in.task).backward(in.state, nullptr, in.of_router, grad_logits, grad_state, true,
                             gradients ? grad_task.get() : nullptr, of(of_router()),
                             of(of_router() + n.router_layers), threads);
    if (gradients) set_task_gradients(grad_task, gradients[of_task()], gradients[of_task() + 1]);
    if (grad_x || gradients)
      encoder().backward(x, nullptr, in.of_encoder, grad_state, grad_x, false, nullptr, of(0), of(n.encoder_layers),
                         threads);
  }

  // The vector of each task, [member, task, seen]: a column of the task encoder's matrix, and its bias.
  void set_task_vectors(T *task) const {
    const T *weight = parameters[of_task()], *bias = parameters[of_task() + 1];
    for (long e = 0; e < n.ensemble; e++)
      for (long t = 0; t < n.tasks; t++)
        for (long d = 0; d < seen(); d++)
          task[(e * n.tasks + t) * seen() + d] = weight[(e * seen() + d) * n.tasks + t] + bias[e * seen() + d];
  }
  void set_task_gradients(const T *task, T *weight, T *bias) const {
    for (long e = 0; e < n.ensemble; e++)
      for (long d = 0; d < seen(); d++) {
        T sum = 0;
        for (long t = 0; t < n.tasks; t++) {
          const T of_task = task[(e * n.tasks + t) * seen() + d];
          weight[(e * seen() + d) * n.tasks + t] = of_task;
          sum += of_task;
        }
        bias[e * seen() + d] = sum;
      }
  }
};

}  // namespace
